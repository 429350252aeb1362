import type { history as English } from '../en/history.ts'

const of = (whom: string | null, what: string) => (whom === null ? what : `${what} von ${whom}`)
const role = (value: unknown) =>
  ({ user: 'Mitglied', manager: 'Verwaltung', admin: 'Administration' })[String(value)] ?? String(value)
const change = (details: Record<string, unknown>, name: string) =>
  details[name] as { from?: unknown; to?: unknown } | undefined
const key = ({ name }: Record<string, unknown>) => (name ? `„${name}“` : 'von jemandem')
const app = ({ name }: Record<string, unknown>) => (name ? `App „${name}“` : 'App')
const at = ({ host }: Record<string, unknown>) => (host ? ` bei ${host}` : '')

export const history: typeof English = {
  you: 'Du',
  system: 'Roster',
  somebody: 'Jemand',
  by: { you: 'dich', somebody: 'jemanden' },
  gone: 'jemand mit gelöschtem Konto',
  from: (place) => `aus ${place}`,
  other: ({ actor }, action) => `${actor}: ${action}`,
  /** What happened in a word or two, for a filter. */
  names: {
    'user.signed_up': 'Registriert',
    'user.created': 'Konto angelegt',
    'user.updated': 'Angaben geändert',
    'user.role_changed': 'Rolle geändert',
    'user.terms_accepted': 'Bedingungen zugestimmt',
    'user.disabled': 'Gesperrt',
    'user.enabled': 'Entsperrt',
    'user.deleted': 'Gelöscht',
    'user.restored': 'Wiederhergestellt',
    'user.purged': 'Endgültig gelöscht',
    'user.exported': 'Daten exportiert',
    'users.imported': 'Personen importiert',
    'user.unlocked': 'Blockierung aufgehoben',
    'password.changed': 'Passwort geändert',
    'password.reset_requested': 'Neues Passwort angefordert',
    'password.reset': 'Passwort neu gewählt',
    'password.failed': 'Falsches Passwort trotz Anmeldung',
    'password.not_checked': 'Passwort nicht geprüft',
    'email.verification_requested': 'Bestätigung angefordert',
    'email.verified': 'Adresse bestätigt',
    'email.change_requested': 'Neue Adresse angefordert',
    'email.changed': 'Adresse geändert',
    'email.change_undone': 'Adressänderung rückgängig gemacht',
    'email.change_withdrawn': 'Adressänderung hinfällig',
    'invitation.created': 'Eingeladen',
    'invitation.resent': 'Einladung erneut gesendet',
    'invitation.withdrawn': 'Einladung zurückgezogen',
    'invitation.accepted': 'Einladung angenommen',
    'session.started': 'Angemeldet',
    'session.refreshed': 'Angemeldet geblieben',
    'session.ended': 'Abgemeldet',
    'sessions.ended': 'Überall abgemeldet',
    'session.reuse_detected': 'Alte Anmeldung wiederverwendet',
    'session.repeated': 'Anmeldung anderswo wiederholt',
    'login.failed': 'Anmeldung fehlgeschlagen',
    'factor.added': 'Zweiter Faktor hinzugefügt',
    'factor.removed': 'Zweiter Faktor entfernt',
    'factor.failed': 'Zweiter Faktor falsch',
    'factors.reset': 'Zweite Faktoren zurückgesetzt',
    'recovery_codes.renewed': 'Neue Wiederherstellungscodes',
    'recovery_code.used': 'Wiederherstellungscode benutzt',
    'identity.linked': 'Anbieter verbunden',
    'identity.unlinked': 'Anbieter getrennt',
    'passkey.renamed': 'Passkey umbenannt',
    'passkey.counter_went_back': 'Passkey vielleicht kopiert',
    'mail.retried': 'Mail erneut gesendet',
    'client.created': 'App hinzugefügt',
    'client.updated': 'App geändert',
    'client.secret_rotated': 'Geheimnis einer App erneuert',
    'client.deleted': 'App entfernt',
    'client.logouts_retried': 'Abmeldungen erneut gemeldet',
    'api_key.created': 'Schlüssel erstellt',
    'api_key.rotated': 'Schlüssel erneuert',
    'api_key.revoked': 'Schlüssel widerrufen',
    'consent.given': 'App-Zugriff erlaubt',
    'consent.withdrawn': 'App-Zugriff entzogen',
    'webhook.created': 'Webhook angelegt',
    'webhook.updated': 'Webhook geändert',
    'webhook.secret_rotated': 'Geheimnis eines Webhooks erneuert',
    'webhook.deleted': 'Webhook entfernt',
    'webhook.tested': 'Webhook getestet',
    'webhook.retried': 'Zustellung erneut gesendet',
    'webhook.rested': 'Webhook pausiert',
    'signup_blocks.changed': 'Blockierte Registrierungen geändert',
    'cleanup.ran': 'Aufgeräumt',
  },
  sentences: {
    'user.signed_up': ({ actor }) => `Registriert: ${actor}`,
    'user.created': ({ by, whom, details }) =>
      `Angelegt durch ${by}: ${whom ?? 'das Konto'} (${role(details.role)})`,
    'user.updated': ({ by, whom, details }) => {
      const name = change(details, 'name')
      return name
        ? `Name geändert durch ${by}: ${whom ? `${whom}, ` : ''}„${name.from}“ zu „${name.to}“`
        : `${of(whom, 'Angaben')} geändert durch ${by}`
    },
    'user.role_changed': ({ by, whom, details }) =>
      `Rolle geändert durch ${by}: ${whom ?? 'eigenes Konto'}, jetzt ${role(change(details, 'role')?.to)}`,
    'user.terms_accepted': ({ actor }) => `Den Bedingungen zugestimmt: ${actor}`,
    'user.disabled': ({ by, whom }) => `Gesperrt durch ${by}: ${whom ?? 'das Konto'}`,
    'user.enabled': ({ by, whom }) => `Entsperrt durch ${by}: ${whom ?? 'das Konto'}`,
    'user.deleted': ({ by, whom }) => `Gelöscht durch ${by}: ${whom ?? 'das Konto'}`,
    'user.restored': ({ by, whom }) => `Wiederhergestellt durch ${by}: ${whom ?? 'das Konto'}`,
    'user.purged': ({ by, whom }) => `Endgültig gelöscht durch ${by}: ${whom ?? 'ein Konto'}`,
    'user.exported': ({ by, whom, details }) =>
      details.list
        ? `${details.list !== 'users' ? 'Verlauf' : details.hashes ? 'Liste der Personen mit Passwort-Hashes' : 'Liste der Personen'} exportiert durch ${by}`
        : `${of(whom, 'Daten')} exportiert durch ${by}`,
    'users.imported': ({ by, details }) => `${details.count ?? 'Einige'} Personen importiert durch ${by}`,
    'user.unlocked': ({ by, whom }) => `Blockierung aufgehoben durch ${by}: ${whom ?? 'das Konto'}`,
    'password.changed': ({ by, whom }) => `${of(whom, 'Passwort')} geändert durch ${by}`,
    'password.reset_requested': ({ whom }) => `${of(whom, 'Neues Passwort')} per Mail angefordert`,
    'password.reset': ({ actor, whom }) => `${of(whom, 'Neues Passwort')} per Mail gewählt: ${actor}`,
    'password.failed': ({ actor }) => `Falsches Passwort trotz Anmeldung: ${actor}`,
    'password.not_checked': ({ actor }) =>
      `Neues Passwort ließ sich nicht mit bekannten abgleichen: ${actor}`,
    'email.verification_requested': ({ whom }) =>
      `${of(whom, 'Bestätigung der Adresse')} per Mail angefordert`,
    'email.verified': ({ by, whom }) => `${of(whom, 'Adresse')} bestätigt durch ${by}`,
    'email.change_requested': ({ actor }) => `Neue Adresse angefordert: ${actor}`,
    'email.changed': ({ by, whom, details }) => {
      const email = change(details, 'email')
      return `${of(whom, 'Adresse')} geändert durch ${by}${email?.to ? `, jetzt ${email.to}` : ''}`
    },
    'email.change_undone': ({ actor }) => `Adressänderung rückgängig gemacht: ${actor}`,
    'email.change_withdrawn': ({ whom }) => `${of(whom, 'Adressänderung')} hinfällig`,
    'invitation.created': ({ actor }) => `Einladung gesendet: ${actor}`,
    'invitation.resent': ({ actor }) => `Einladung erneut gesendet: ${actor}`,
    'invitation.withdrawn': ({ actor }) => `Einladung zurückgezogen: ${actor}`,
    'invitation.accepted': ({ actor }) => `Einladung angenommen: ${actor}`,
    'session.started': ({ actor }) => `Angemeldet: ${actor}`,
    'session.refreshed': ({ actor }) => `Angemeldet geblieben: ${actor}`,
    'session.ended': ({ actor, whom }) => `Abgemeldet: ${whom ?? actor}`,
    'sessions.ended': ({ by, whom }) => `${of(whom, 'Sitzungen')} beendet durch ${by}`,
    'session.reuse_detected': ({ whom }) =>
      `${of(whom, 'Alte Anmeldung')} wurde wiederverwendet und daraufhin beendet`,
    'session.repeated': ({ whom }) =>
      `${of(whom, 'Anmeldung')} aus einem anderen Netz oder Programm wiederholt`,
    'login.failed': ({ whom }) => `${of(whom, 'Anmeldung')} fehlgeschlagen`,
    'factor.added': ({ by, details }) =>
      `${details.kind === 'passkey' ? 'Passkey' : 'Authenticator-App'} hinzugefügt durch ${by}`,
    'factor.removed': ({ by, details }) =>
      `${details.kind === 'passkey' ? 'Passkey' : 'Authenticator-App'} entfernt durch ${by}`,
    'factor.failed': ({ whom }) => `${of(whom, 'Zweiter Faktor')} falsch`,
    'factors.reset': ({ by, whom }) => `${of(whom, 'Zweite Faktoren')} zurückgesetzt durch ${by}`,
    'recovery_codes.renewed': ({ actor }) => `Neue Wiederherstellungscodes: ${actor}`,
    'recovery_code.used': ({ actor }) => `Wiederherstellungscode benutzt: ${actor}`,
    'identity.linked': ({ by, details }) => `Verbunden durch ${by}: ${details.provider ?? 'ein Anbieter'}`,
    'identity.unlinked': ({ by, details }) => `Getrennt durch ${by}: ${details.provider ?? 'ein Anbieter'}`,
    'passkey.renamed': ({ by }) => `Passkey umbenannt durch ${by}`,
    'passkey.counter_went_back': ({ whom }) =>
      `${of(whom, 'Der Zähler eines Passkeys')} lief zurück: Vielleicht wurde er kopiert`,
    'mail.retried': ({ by }) => `Mail erneut gesendet durch ${by}`,
    'client.created': ({ by, details }) => `${app(details)} hinzugefügt durch ${by}`,
    'client.updated': ({ by, details }) => `${app(details)} geändert durch ${by}`,
    'client.secret_rotated': ({ by, details }) => `Neues Geheimnis für ${app(details)} durch ${by}`,
    'client.deleted': ({ by, details }) => `${app(details)} entfernt durch ${by}`,
    'client.logouts_retried': ({ by, details }) =>
      `Abmeldungen erneut an ${app(details)} gemeldet durch ${by}`,
    'api_key.created': ({ by, details }) => `Schlüssel ${key(details)} erstellt durch ${by}`,
    'api_key.rotated': ({ by, details }) => `Schlüssel ${key(details)} erneuert durch ${by}`,
    'api_key.revoked': ({ by, details }) => `Schlüssel ${key(details)} widerrufen durch ${by}`,
    'consent.given': ({ by, details }) => `Zugriff erlaubt durch ${by}: ${app(details)}`,
    'consent.withdrawn': ({ by, details }) => `Zugriff entzogen durch ${by}: ${app(details)}`,
    'webhook.created': ({ by, details }) => `Webhook${at(details)} angelegt durch ${by}`,
    'webhook.updated': ({ by, details }) =>
      `${details.reason === 'resumed' ? 'Senden an einen Webhook' : 'Webhook'}${at(details)} ${details.reason === 'resumed' ? 'fortgesetzt' : 'geändert'} durch ${by}`,
    'webhook.secret_rotated': ({ by, details }) =>
      `Neues Geheimnis für einen Webhook${at(details)} durch ${by}`,
    'webhook.deleted': ({ by, details }) => `Webhook${at(details)} entfernt durch ${by}`,
    'webhook.tested': ({ by, details }) => `Webhook${at(details)} getestet durch ${by}`,
    'webhook.retried': ({ by, details }) =>
      `Zustellung ${details.sequence ?? ''} an einen Webhook${at(details)} erneut gesendet durch ${by}`,
    'signup_blocks.changed': ({ by, details }) => {
      const what = (count: unknown) =>
        details.entry ??
        (count === 1 ? 'eine Adresse, Domain oder ein Netz' : `${count} Adressen, Domains oder Netze`)
      if (details.removed === 0) return `Registrierung blockiert durch ${by}: ${what(details.added)}`
      if (details.added === 0) return `Registrierung freigegeben durch ${by}: ${what(details.removed)}`
      return `Blockierte Registrierungen geändert durch ${by}`
    },
    'webhook.rested': () => 'Ein Webhook war zu lange gestört und pausiert',
    'cleanup.ran': () => 'Roster hat aufgeräumt',
  },
}
