import type { webhooks as English } from '../en/webhooks.ts'

const by = (actor: string | null, organisation: string) =>
  actor === null ? `Wer ${organisation} verwaltet,` : `${actor}, von der Verwaltung von ${organisation},`
const at = (host: string | null) => (host === null ? '' : ` bei ${host}`)

export const webhooks: typeof English = {
  webhook_added: ({ organisation, actor, host }) => ({
    subject: `Bei ${organisation} wurde ein Webhook angelegt`,
    paragraphs: [
      `${by(actor, organisation)} hat ein anderes System${at(host)} Änderungen hören lassen: Es erfährt auch, wen sie betreffen.`,
      'Sollte das niemand tun, entferne ihn, und sieh nach, wer verwaltet.',
    ],
    button: 'Webhooks ansehen',
  }),
  webhook_changed: ({ organisation, actor, host }) => ({
    subject: `Ein Webhook von ${organisation} wurde geändert`,
    paragraphs: [
      `${by(actor, organisation)} hat geändert, wohin ein Webhook${at(host)} Änderungen schickt, welche, oder sein Geheimnis.`,
      'Sollte das niemand tun, sieh ihn an, und wer verwaltet.',
    ],
    button: 'Webhooks ansehen',
  }),
  webhook_removed: ({ organisation, actor, host }) => ({
    subject: `Ein Webhook von ${organisation} wurde entfernt`,
    paragraphs: [
      `${by(actor, organisation)} hat einen Webhook${at(host)} entfernt: Das andere System hört nichts mehr.`,
      'Sollte das niemand tun, lege ihn neu an, und sieh nach, wer verwaltet.',
    ],
    button: 'Webhooks ansehen',
  }),
  webhook_tried: ({ organisation, actor, host }) => ({
    subject: `Ein Webhook von ${organisation} wurde von Hand versucht`,
    paragraphs: [
      `${by(actor, organisation)} hat einem Webhook${at(host)} einen Test geschickt oder eine Zustellung noch einmal.`,
      'Sollte das niemand tun, sieh ihn an, und wer verwaltet.',
    ],
    button: 'Webhooks ansehen',
  }),
  webhook_rested: ({ organisation, host }) => ({
    subject: `Ein Webhook von ${organisation} antwortet nicht und wird nicht mehr versucht`,
    paragraphs: [
      `Ein Webhook von ${organisation}${at(host)} ist seit mehr als einem Tag gescheitert oder sagt, dass es ihn nicht mehr gibt.`,
      'Ausstehende Ereignisse werden eine Weile aufbewahrt. Sie gehen hinaus, sobald der Webhook geändert wird oder ein Test gelingt.',
    ],
    button: 'Webhooks ansehen',
  }),
}
