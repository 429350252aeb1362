import type { history as English } from '../en/history.ts'

const of = (whom: string | null, what: string) => (whom === null ? what : `${what} von ${whom}`)
const role = (value: unknown) =>
  ({ user: 'Mitglied', manager: 'Verwaltung', admin: 'Administration' })[String(value)] ?? String(value)
const change = (details: Record<string, unknown>, name: string) =>
  details[name] as { from?: unknown; to?: unknown } | undefined
const key = ({ name }: Record<string, unknown>) => (name ? `„${name}“` : 'von jemandem')
const app = ({ name }: Record<string, unknown>) => (name ? `App „${name}“` : 'App')

export const history: typeof English = {
  you: 'Du',
  system: 'Roster',
  somebody: 'Jemand',
  gone: 'jemand, den es nicht mehr gibt',
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
    'user.unlocked': 'Freigegeben',
    'password.changed': 'Passwort geändert',
    'password.reset_requested': 'Neues Passwort verlangt',
    'password.reset': 'Passwort neu gewählt',
    'password.failed': 'Falsches Passwort, angemeldet',
    'password.not_checked': 'Passwort nicht geprüft',
    'email.verification_requested': 'Bestätigung verlangt',
    'email.verified': 'Adresse bestätigt',
    'email.change_requested': 'Neue Adresse verlangt',
    'email.changed': 'Adresse geändert',
    'email.change_undone': 'Neue Adresse zurückgenommen',
    'email.change_withdrawn': 'Neue Adresse zurückgezogen',
    'invitation.created': 'Eingeladen',
    'invitation.resent': 'Einladung noch einmal gesendet',
    'invitation.withdrawn': 'Einladung zurückgezogen',
    'invitation.accepted': 'Einladung angenommen',
    'session.started': 'Angemeldet',
    'session.refreshed': 'Angemeldet geblieben',
    'session.ended': 'Abgemeldet',
    'sessions.ended': 'Überall abgemeldet',
    'session.reuse_detected': 'Alte Anmeldung wiederverwendet',
    'session.repeated': 'Anmeldung anderswo wiederholt',
    'login.failed': 'Anmeldung gescheitert',
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
    'mail.retried': 'Mail noch einmal gesendet',
    'client.created': 'App hinzugefügt',
    'client.updated': 'App geändert',
    'client.secret_rotated': 'Geheimnis einer App erneuert',
    'client.deleted': 'App entfernt',
    'api_key.created': 'Schlüssel erstellt',
    'api_key.rotated': 'Schlüssel erneuert',
    'api_key.revoked': 'Schlüssel widerrufen',
    'consent.given': 'App zugelassen',
    'consent.withdrawn': 'App nicht mehr zugelassen',
    'cleanup.ran': 'Aufgeräumt',
  },
  sentences: {
    'user.signed_up': ({ actor }) => `Konto angelegt: ${actor}`,
    'user.created': ({ actor, whom, details }) =>
      `Angelegt durch ${actor}: ${whom ?? 'das Konto'} (${role(details.role)})`,
    'user.updated': ({ actor, whom, details }) => {
      const name = change(details, 'name')
      return name
        ? `Name geändert durch ${actor}: ${whom ? `${whom}, ` : ''}„${name.from}“ zu „${name.to}“`
        : `${of(whom, 'Angaben')} geändert durch ${actor}`
    },
    'user.role_changed': ({ actor, whom, details }) =>
      `Rolle geändert durch ${actor}: ${whom ?? 'selbst'}, jetzt ${role(change(details, 'role')?.to)}`,
    'user.terms_accepted': ({ actor }) => `Den Bedingungen zugestimmt: ${actor}`,
    'user.disabled': ({ actor, whom }) => `Gesperrt durch ${actor}: ${whom ?? 'das Konto'}`,
    'user.enabled': ({ actor, whom }) => `Entsperrt durch ${actor}: ${whom ?? 'das Konto'}`,
    'user.deleted': ({ actor, whom }) => `Gelöscht durch ${actor}: ${whom ?? 'das Konto'}`,
    'user.restored': ({ actor, whom }) => `Wiederhergestellt durch ${actor}: ${whom ?? 'das Konto'}`,
    'user.purged': ({ actor, whom }) => `Endgültig gelöscht durch ${actor}: ${whom ?? 'ein Konto'}`,
    'user.exported': ({ actor, whom }) => `${of(whom, 'Daten')} exportiert durch ${actor}`,
    'users.imported': ({ actor, details }) =>
      `${details.count ?? 'Einige'} Personen importiert durch ${actor}`,
    'user.unlocked': ({ actor, whom }) => `Freigegeben durch ${actor}: ${whom ?? 'das Konto'}`,
    'password.changed': ({ actor, whom }) => `${of(whom, 'Passwort')} geändert durch ${actor}`,
    'password.reset_requested': ({ whom }) => `${of(whom, 'Neues Passwort')} per Mail verlangt`,
    'password.reset': ({ actor, whom }) => `${of(whom, 'Neues Passwort')} per Mail gewählt: ${actor}`,
    'password.failed': ({ actor }) => `Falsches Passwort, angemeldet: ${actor}`,
    'password.not_checked': ({ actor }) =>
      `Neues Passwort von ${actor} konnte nicht unter den bekannt gewordenen gesucht werden`,
    'email.verification_requested': ({ whom }) => `${of(whom, 'Bestätigung der Adresse')} per Mail verlangt`,
    'email.verified': ({ actor, whom }) => `${of(whom, 'Adresse')} bestätigt durch ${actor}`,
    'email.change_requested': ({ actor }) => `Andere Adresse verlangt: ${actor}`,
    'email.changed': ({ actor, whom, details }) => {
      const email = change(details, 'email')
      return `${of(whom, 'Adresse')} geändert durch ${actor}${email?.to ? `, jetzt ${email.to}` : ''}`
    },
    'email.change_undone': ({ actor }) => `Änderung der Adresse zurückgenommen: ${actor}`,
    'email.change_withdrawn': ({ whom }) => `${of(whom, 'Änderung der Adresse')} hinfällig`,
    'invitation.created': ({ actor }) => `Einladung gesendet: ${actor}`,
    'invitation.resent': ({ actor }) => `Einladung noch einmal gesendet: ${actor}`,
    'invitation.withdrawn': ({ actor }) => `Einladung zurückgezogen: ${actor}`,
    'invitation.accepted': ({ actor }) => `Einladung angenommen: ${actor}`,
    'session.started': ({ actor }) => `Angemeldet: ${actor}`,
    'session.refreshed': ({ actor }) => `Angemeldet geblieben: ${actor}`,
    'session.ended': ({ actor, whom }) => `Abgemeldet: ${whom ?? actor}`,
    'sessions.ended': ({ actor, whom }) => `${of(whom, 'Sitzungen')} beendet durch ${actor}`,
    'session.reuse_detected': ({ whom }) =>
      `${of(whom, 'Alte Anmeldung')} wurde noch einmal benutzt und beendet`,
    'session.repeated': ({ whom }) =>
      `${of(whom, 'Anmeldung')} aus einem anderen Netz oder Programm wiederholt`,
    'login.failed': ({ whom }) => `${of(whom, 'Anmeldung')} gescheitert`,
    'factor.added': ({ actor, details }) =>
      `${details.kind === 'passkey' ? 'Passkey' : 'Authenticator-App'} hinzugefügt durch ${actor}`,
    'factor.removed': ({ actor, details }) =>
      `${details.kind === 'passkey' ? 'Passkey' : 'Authenticator-App'} entfernt durch ${actor}`,
    'factor.failed': ({ whom }) => `${of(whom, 'Zweiter Faktor')} falsch`,
    'factors.reset': ({ actor, whom }) => `${of(whom, 'Zweite Faktoren')} zurückgesetzt durch ${actor}`,
    'recovery_codes.renewed': ({ actor }) => `Neue Wiederherstellungscodes: ${actor}`,
    'recovery_code.used': ({ actor }) => `Wiederherstellungscode benutzt: ${actor}`,
    'identity.linked': ({ actor, details }) => `${details.provider ?? 'Anbieter'} verbunden durch ${actor}`,
    'identity.unlinked': ({ actor, details }) => `${details.provider ?? 'Anbieter'} getrennt durch ${actor}`,
    'passkey.renamed': ({ actor }) => `Passkey umbenannt durch ${actor}`,
    'passkey.counter_went_back': ({ whom }) =>
      `${of(whom, 'Der Zähler eines Passkeys')} ging zurück: er ist vielleicht kopiert`,
    'mail.retried': ({ actor }) => `Mail noch einmal gesendet durch ${actor}`,
    'client.created': ({ actor, details }) => `${app(details)} hinzugefügt durch ${actor}`,
    'client.updated': ({ actor, details }) => `${app(details)} geändert durch ${actor}`,
    'client.secret_rotated': ({ actor, details }) => `Neues Geheimnis für ${app(details)} durch ${actor}`,
    'client.deleted': ({ actor, details }) => `${app(details)} entfernt durch ${actor}`,
    'api_key.created': ({ actor, details }) => `Schlüssel ${key(details)} erstellt durch ${actor}`,
    'api_key.rotated': ({ actor, details }) => `Schlüssel ${key(details)} erneuert durch ${actor}`,
    'api_key.revoked': ({ actor, details }) => `Schlüssel ${key(details)} widerrufen durch ${actor}`,
    'consent.given': ({ actor, details }) => `${app(details)} zugelassen durch ${actor}`,
    'consent.withdrawn': ({ actor, details }) => `Zulassung zurückgenommen durch ${actor}: ${app(details)}`,
    'cleanup.ran': () => 'Roster hat aufgeräumt',
  },
}
