import { inWords } from '../../../values/durations.ts'
import { REST_AFTER } from '../../../webhooks/models.ts'
import type { webhooks as English } from '../en/webhooks.ts'

const by = (actor: string | null, organisation: string) =>
  `${actor ?? 'Jemand'} aus der Administration von ${organisation}`
const hook = (host: string | null) => (host === null ? 'einen Webhook' : `den Webhook bei ${host}`)

const button = 'Webhooks ansehen'
const orElse = (what: string) =>
  `Wenn das nicht gewollt war, ${what} und prüfe, wer zur Administration gehört.`
const LOOK = orElse('sieh ihn dir an')

export const webhooks: typeof English = {
  service_changed: ({ organisation, actor, what }) => {
    const [subject, did] =
      what === 'client.created'
        ? ['wurde angelegt', 'einen Dienst angelegt']
        : what === 'client.secret_rotated'
          ? ['hat ein neues Geheimnis', 'für einen Dienst ein neues Geheimnis erzeugt und es dabei gesehen']
          : ['wurde geändert', 'einen Dienst übernommen oder ihm Rechte oder Schlüssel gegeben']
    return {
      subject: `Ein Dienst von ${organisation} ${subject}`,
      paragraphs: [
        `${by(actor, organisation)} hat ${did}: ein Programm, das mit eigenem Geheimnis für sich selbst handelt.`,
        LOOK,
      ],
      button: 'Apps ansehen',
    }
  },
  webhook_added: ({ organisation, actor, host }) => ({
    subject: `Bei ${organisation} wurde ein Webhook angelegt`,
    paragraphs: [
      `${by(actor, organisation)} hat ${hook(host)} angelegt: Ein anderes System erfährt nun von Änderungen und davon, wen sie betreffen.`,
      orElse('entferne ihn'),
    ],
    button,
  }),
  webhook_changed: ({ organisation, actor, host, what }) => {
    const [subject, did] =
      what === 'resumed'
        ? [
            'wird wieder beliefert',
            `das Senden an ${hook(host)} wieder aufgenommen: Ausstehendes wird jetzt gesendet`,
          ]
        : what === 'webhook.secret_rotated'
          ? ['hat ein neues Geheimnis', `für ${hook(host)} ein neues Geheimnis erzeugt und es dabei gesehen`]
          : ['wurde geändert', `${hook(host)} geändert: seine Adresse oder wovon er erfährt`]
    return {
      subject: `Ein Webhook von ${organisation} ${subject}`,
      paragraphs: [`${by(actor, organisation)} hat ${did}.`, LOOK],
      button,
    }
  },
  webhook_removed: ({ organisation, actor, host }) => ({
    subject: `Ein Webhook von ${organisation} wurde entfernt`,
    paragraphs: [
      `${by(actor, organisation)} hat ${hook(host)} entfernt: Das andere System erfährt nichts mehr.`,
      orElse('leg ihn neu an'),
    ],
    button,
  }),
  webhook_tried: ({ organisation, actor, host, what }) => {
    const isAgain = what === 'webhook.retried'
    return {
      subject: isAgain
        ? `Eine Zustellung an einen Webhook von ${organisation} wurde erneut gesendet`
        : `Ein Webhook von ${organisation} wurde getestet`,
      paragraphs: [
        `${by(actor, organisation)} hat ${isAgain ? 'eine Zustellung erneut' : 'einen Test'} an ${hook(host)} gesendet.`,
        LOOK,
      ],
      button,
    }
  },
  webhook_rested: ({ organisation, host }) => ({
    subject: `Ein Webhook von ${organisation} antwortet nicht und pausiert jetzt`,
    paragraphs: [
      `Ein Webhook von ${organisation}${host === null ? '' : ` bei ${host}`} nimmt seit mehr als ${inWords(REST_AFTER.ms, 'de')} nichts an, oder sein Empfänger meldet, dass es ihn nicht mehr gibt.`,
      'Ausstehendes wird eine Weile aufbewahrt. Es wird gesendet, sobald jemand den Webhook ändert oder das Senden fortsetzt, oder ein Test gelingt.',
    ],
    button,
  }),
}
