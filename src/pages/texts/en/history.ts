/** What happened, as a sentence. `actor` did it (you, a name, or the system), `whom` it happened to, if somebody else. */
export interface Told {
  actor: string
  /** With its preposition left out: "Ada Lovelace". Null: oneself. */
  whom: string | null
  details: Record<string, unknown>
}

const of = (whom: string | null, what: string) => (whom === null ? what : `${what} of ${whom}`)
const role = (value: unknown) =>
  ({ user: 'user', manager: 'manager', admin: 'administrator' })[String(value)] ?? String(value)
const change = (details: Record<string, unknown>, name: string) =>
  details[name] as { from?: unknown; to?: unknown } | undefined

export const history = {
  you: 'You',
  system: 'Roster',
  somebody: 'Somebody',
  gone: 'somebody who is gone',
  from: (place: string) => `from ${place}`,
  other: ({ actor }: Told, action: string) => `${actor}: ${action}`,
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
    'user.disabled': ({ actor, whom }) => `${actor} disabled ${whom ?? 'the account'}`,
    'user.enabled': ({ actor, whom }) => `${actor} enabled ${whom ?? 'the account'}`,
    'user.deleted': ({ actor, whom }) => `${actor} deleted ${whom ?? 'the account'}`,
    'user.restored': ({ actor, whom }) => `${actor} restored ${whom ?? 'the account'}`,
    'user.purged': ({ actor, whom }) => `${actor} erased ${whom ?? 'an account'}`,
    'user.exported': ({ actor, whom }) => `${actor} exported ${of(whom, 'the data')}`,
    'user.unlocked': ({ actor, whom }) => `${actor} unlocked ${whom ?? 'the account'}`,
    'user.locked': ({ whom }) =>
      `Password sign-in was locked${whom ? ` for ${whom}` : ''} after too many failures`,
    'password.changed': ({ actor, whom }) => `${actor} changed ${of(whom, 'the password')}`,
    'password.reset_requested': ({ whom }) =>
      `A link for a new password was asked for${whom ? ` for ${whom}` : ''}`,
    'password.reset': ({ actor, whom }) =>
      `${actor} chose a new password by mail${whom ? ` for ${whom}` : ''}`,
    'email.verified': ({ actor, whom }) => `${actor} confirmed ${of(whom, 'the address')}`,
    'email.change_requested': ({ actor }) => `${actor} asked for another address`,
    'email.changed': ({ actor, whom, details }) => {
      const email = change(details, 'email')
      return `${actor} changed ${of(whom, 'the address')}${email?.to ? ` to ${email.to}` : ''}`
    },
    'email.change_undone': ({ actor }) => `${actor} took the change of address back`,
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
    'login.failed': ({ whom }) => `A sign-in${whom ? ` as ${whom}` : ''} failed`,
    'cleanup.ran': () => 'Roster cleaned up',
  } as Record<string, (told: Told) => string>,
}

/** What is shown in red: somebody may be where they should not. */
export const GRAVE = new Set(['session.reuse_detected', 'user.locked', 'user.purged'])
