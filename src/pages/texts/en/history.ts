import type { Action } from '../../../activity/models.ts'

/** What happened, as a sentence. `actor` did it (you, a name, or the system), `whom` it happened to, if somebody else. */
export interface Told {
  actor: string
  /** The same behind a preposition: a language may decline it. */
  by: string
  /** With its preposition left out: "Ada Lovelace". Null: oneself. */
  whom: string | null
  details: Record<string, unknown>
}

const of = (whom: string | null, what: string) => (whom === null ? what : `${what} of ${whom}`)
const role = (value: unknown) =>
  ({ user: 'a user', manager: 'a manager', admin: 'an administrator' })[String(value)] ?? String(value)
const change = (details: Record<string, unknown>, name: string) =>
  details[name] as { from?: unknown; to?: unknown } | undefined
const key = ({ name }: Record<string, unknown>) => (name ? `“${name}”` : 'of somebody')
const app = ({ name }: Record<string, unknown>) => (name ? `the app “${name}”` : 'an app')
const at = ({ host }: Record<string, unknown>) => (host ? ` at ${host}` : '')

export const history = {
  you: 'You',
  system: 'Roster',
  somebody: 'Somebody',
  by: { you: 'you', somebody: 'somebody' },
  gone: 'somebody who is gone',
  from: (place: string) => `from ${place}`,
  other: ({ actor }: Told, action: string) => `${actor}: ${action}`,
  /** What happened in a word or two, for a filter. */
  names: {
    'user.signed_up': 'Signed up',
    'user.created': 'Account added',
    'user.updated': 'Details changed',
    'user.role_changed': 'Role changed',
    'user.terms_accepted': 'Terms agreed to',
    'user.disabled': 'Disabled',
    'user.enabled': 'Enabled',
    'user.deleted': 'Deleted',
    'user.restored': 'Restored',
    'user.purged': 'Erased',
    'user.exported': 'Data exported',
    'users.imported': 'People imported',
    'user.unlocked': 'Unlocked',
    'password.changed': 'Password changed',
    'password.reset_requested': 'Reset asked for',
    'password.reset': 'Password reset',
    'password.failed': 'Wrong password, signed in',
    'password.not_checked': 'Password not checked',
    'email.verification_requested': 'Confirmation asked for',
    'email.verified': 'Address confirmed',
    'email.change_requested': 'Change of address asked for',
    'email.changed': 'Address changed',
    'email.change_undone': 'Change of address undone',
    'email.change_withdrawn': 'Change of address withdrawn',
    'invitation.created': 'Invited',
    'invitation.resent': 'Invitation sent again',
    'invitation.withdrawn': 'Invitation withdrawn',
    'invitation.accepted': 'Invitation accepted',
    'session.started': 'Signed in',
    'session.refreshed': 'Stayed signed in',
    'session.ended': 'Signed out',
    'sessions.ended': 'Sessions ended',
    'session.reuse_detected': 'Old sign-in reused',
    'session.repeated': 'Sign-in repeated elsewhere',
    'login.failed': 'Sign-in failed',
    'factor.added': 'Second factor added',
    'factor.removed': 'Second factor removed',
    'factor.failed': 'Second factor failed',
    'factors.reset': 'Second factors reset',
    'recovery_codes.renewed': 'Recovery codes renewed',
    'recovery_code.used': 'Recovery code used',
    'identity.linked': 'Provider connected',
    'identity.unlinked': 'Provider disconnected',
    'passkey.renamed': 'Passkey renamed',
    'passkey.counter_went_back': 'Passkey may be copied',
    'mail.retried': 'Mail tried again',
    'client.created': 'App added',
    'client.updated': 'App changed',
    'client.secret_rotated': 'Secret of an app replaced',
    'client.deleted': 'App removed',
    'client.logouts_retried': 'App told again of sign-outs',
    'api_key.created': 'Key made',
    'api_key.rotated': 'Key renewed',
    'api_key.revoked': 'Key revoked',
    'consent.given': 'App allowed',
    'consent.withdrawn': 'App no longer allowed',
    'webhook.created': 'Webhook added',
    'webhook.updated': 'Webhook changed',
    'webhook.secret_rotated': 'Secret of a webhook replaced',
    'webhook.deleted': 'Webhook removed',
    'webhook.tested': 'Webhook tested',
    'webhook.retried': 'Delivery sent again',
    'webhook.rested': 'Webhook rests',
    'signup_blocks.changed': 'Who may not sign up changed',
    'cleanup.ran': 'Clean-up',
  } satisfies Record<Action, string>,
  sentences: {
    'user.signed_up': ({ actor }) => `${actor} signed up`,
    'user.created': ({ actor, whom, details }) =>
      `${actor} added ${whom ?? 'the account'} as ${role(details.role)}`,
    'user.updated': ({ actor, whom, details }) => {
      const name = change(details, 'name')
      return name
        ? `${actor} changed the name${whom ? ` of ${whom}` : ''} from “${name.from}” to “${name.to}”`
        : `${actor} changed ${of(whom, 'the details')}`
    },
    'user.role_changed': ({ actor, whom, details }) =>
      `${actor} made ${whom ?? 'themselves'} ${role(change(details, 'role')?.to)}`,
    'user.terms_accepted': ({ actor }) => `${actor} agreed to the terms`,
    'user.disabled': ({ actor, whom }) => `${actor} disabled ${whom ?? 'the account'}`,
    'user.enabled': ({ actor, whom }) => `${actor} enabled ${whom ?? 'the account'}`,
    'user.deleted': ({ actor, whom }) => `${actor} deleted ${whom ?? 'the account'}`,
    'user.restored': ({ actor, whom }) => `${actor} restored ${whom ?? 'the account'}`,
    'user.purged': ({ actor, whom }) => `${actor} erased ${whom ?? 'an account'}`,
    'user.exported': ({ actor, whom, details }) =>
      details.list
        ? `${actor} exported ${details.list !== 'users' ? 'the history' : details.hashes ? 'the list of people, with their password hashes' : 'the list of people'}`
        : `${actor} exported ${of(whom, 'the data')}`,
    'users.imported': ({ actor, details }) => `${actor} imported ${details.count ?? 'some'} people`,
    'user.unlocked': ({ actor, whom }) => `${actor} unlocked ${whom ?? 'the account'}`,
    'password.changed': ({ actor, whom }) => `${actor} changed ${of(whom, 'the password')}`,
    'password.reset_requested': ({ whom }) =>
      `A link for a new password was asked for${whom ? ` for ${whom}` : ''}`,
    'password.reset': ({ actor, whom }) =>
      `${actor} chose a new password by mail${whom ? ` for ${whom}` : ''}`,
    'password.failed': ({ actor }) => `${actor} typed a wrong password while signed in`,
    'password.not_checked': ({ actor }) =>
      `${actor} chose a password that could not be checked against known ones`,
    'email.verification_requested': ({ whom }) =>
      `A mail to confirm the address was asked for${whom ? ` for ${whom}` : ''}`,
    'email.verified': ({ actor, whom }) => `${actor} confirmed ${of(whom, 'the address')}`,
    'email.change_requested': ({ actor }) => `${actor} asked for another address`,
    'email.changed': ({ actor, whom, details }) => {
      const email = change(details, 'email')
      return `${actor} changed ${of(whom, 'the address')}${email?.to ? ` to ${email.to}` : ''}`
    },
    'email.change_undone': ({ actor }) => `${actor} undid the change of address`,
    'email.change_withdrawn': ({ whom }) => `A change of address${whom ? ` of ${whom}` : ''} came to nothing`,
    'invitation.created': ({ actor }) => `${actor} invited somebody`,
    'invitation.resent': ({ actor }) => `${actor} sent an invitation again`,
    'invitation.withdrawn': ({ actor }) => `${actor} withdrew an invitation`,
    'invitation.accepted': ({ actor }) => `${actor} accepted an invitation`,
    'session.started': ({ actor }) => `${actor} signed in`,
    'session.refreshed': ({ actor }) => `${actor} stayed signed in`,
    'session.ended': ({ actor, whom }) => `${actor} signed ${whom ? `${whom} ` : ''}out`,
    'sessions.ended': ({ actor, whom }) => `${actor} ended ${of(whom, 'the sessions')}`,
    'session.reuse_detected': ({ whom }) =>
      `Somebody reused an old sign-in${whom ? ` of ${whom}` : ''}; it was ended`,
    'session.repeated': ({ whom }) =>
      `A sign-in${whom ? ` of ${whom}` : ''} was repeated from another network or client`,
    'login.failed': ({ whom }) => `A sign-in${whom ? ` as ${whom}` : ''} failed`,
    'factor.added': ({ actor, details }) =>
      `${actor} added ${details.kind === 'passkey' ? 'a passkey' : 'an authenticator app'}`,
    'factor.removed': ({ actor, details }) =>
      `${actor} removed ${details.kind === 'passkey' ? 'a passkey' : 'the authenticator app'}`,
    'factor.failed': ({ whom }) => `A second factor${whom ? ` of ${whom}` : ''} failed`,
    'factors.reset': ({ actor, whom }) => `${actor} reset ${of(whom, 'the second factors')}`,
    'recovery_codes.renewed': ({ actor }) => `${actor} made new recovery codes`,
    'recovery_code.used': ({ actor }) => `${actor} used a recovery code`,
    'identity.linked': ({ actor, details }) => `${actor} connected ${details.provider ?? 'a provider'}`,
    'identity.unlinked': ({ actor, details }) => `${actor} disconnected ${details.provider ?? 'a provider'}`,
    'passkey.renamed': ({ actor }) => `${actor} renamed a passkey`,
    'passkey.counter_went_back': ({ whom }) =>
      `The counter of a passkey${whom ? ` of ${whom}` : ''} went back: it may have been copied`,
    'mail.retried': ({ actor }) => `${actor} tried a mail again`,
    'client.created': ({ actor, details }) => `${actor} added ${app(details)}`,
    'client.updated': ({ actor, details }) => `${actor} changed ${app(details)}`,
    'client.secret_rotated': ({ actor, details }) => `${actor} made a new secret for ${app(details)}`,
    'client.deleted': ({ actor, details }) => `${actor} removed ${app(details)}`,
    'client.logouts_retried': ({ actor, details }) => `${actor} had ${app(details)} told again of sign-outs`,
    'api_key.created': ({ actor, details }) => `${actor} made the key ${key(details)}`,
    'api_key.rotated': ({ actor, details }) => `${actor} renewed the key ${key(details)}`,
    'api_key.revoked': ({ actor, details }) => `${actor} revoked the key ${key(details)}`,
    'consent.given': ({ actor, details }) => `${actor} allowed ${app(details)}`,
    'consent.withdrawn': ({ actor, details }) => `${actor} no longer allows ${app(details)}`,
    'webhook.created': ({ actor, details }) => `${actor} added a webhook${at(details)}`,
    'webhook.updated': ({ actor, details }) =>
      `${actor} ${details.reason === 'resumed' ? 'resumed sending to' : 'changed'} a webhook${at(details)}`,
    'webhook.secret_rotated': ({ actor, details }) =>
      `${actor} made a new secret for a webhook${at(details)}`,
    'webhook.deleted': ({ actor, details }) => `${actor} removed a webhook${at(details)}`,
    'webhook.tested': ({ actor, details }) => `${actor} tested a webhook${at(details)}`,
    'webhook.retried': ({ actor, details }) =>
      `${actor} sent delivery ${details.sequence ?? ''} to a webhook${at(details)} again`,
    'signup_blocks.changed': ({ actor, details }) => {
      const what = (count: unknown) =>
        details.entry ??
        (count === 1 ? 'an address, domain or network' : `${count} addresses, domains or networks`)
      if (details.removed === 0) return `${actor} blocked ${what(details.added)} from signing up`
      if (details.added === 0) return `${actor} no longer blocks ${what(details.removed)} from signing up`
      return `${actor} changed who may not sign up`
    },
    'webhook.rested': () => 'A webhook has failed for too long, and rests',
    'cleanup.ran': ({ actor }) => `${actor} cleaned up`,
  } satisfies Record<Action, (told: Told) => string>,
}

/** What is shown in red: somebody may be where they should not. */
export const GRAVE = new Set<Action>(['session.reuse_detected', 'passkey.counter_went_back', 'user.purged'])
