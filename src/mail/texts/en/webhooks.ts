import { inWords } from '../../../values/durations.ts'
import { REST_AFTER } from '../../../webhooks/models.ts'
import type { Write } from '../../text.ts'

const by = (actor: string | null, organisation: string) => `${actor ?? 'An administrator'} of ${organisation}`
const hook = (host: string | null) => (host === null ? 'a webhook' : `the webhook at ${host}`)
const at = (host: string | null) => (host === null ? '' : ` at ${host}`)

const button = 'Look at the webhooks'
const LOOK = 'If nobody should have, check it, and who the administrators are.'

/** To those who manage services and webhooks. Only the host of an address is shown: its path may be a secret. */
export const webhooks = {
  service_changed: ({ organisation, actor, what }) => {
    const [subject, did] =
      what === 'client.created'
        ? ['was added', 'added a service']
        : what === 'client.secret_rotated'
          ? ['has a new secret', 'made a new secret for a service, and has seen it']
          : ['was changed', 'taken over a service, or given it permissions or keys']
    return {
      subject: `A service of ${organisation} ${subject}`,
      paragraphs: [
        `${by(actor, organisation)} has ${did}: a program that acts for itself, with its own secret.`,
        LOOK,
      ],
      button: 'Look at the apps',
    }
  },
  webhook_added: ({ organisation, actor, host }) => ({
    subject: `A webhook was added at ${organisation}`,
    paragraphs: [
      `${by(actor, organisation)} has let another system${at(host)} hear of changes: it is sent the people they are about.`,
      'If nobody should have, remove it, and check who the administrators are.',
    ],
    button,
  }),
  webhook_changed: ({ organisation, actor, host, what }) => {
    const [subject, did] =
      what === 'resumed'
        ? ['is active again', `resumed sending to ${hook(host)}: what waited goes out`]
        : what === 'webhook.secret_rotated'
          ? ['has a new secret', `made a new secret for ${hook(host)}, and has seen it`]
          : ['was changed', `changed where ${hook(host)} sends changes, or which`]
    return {
      subject: `A webhook of ${organisation} ${subject}`,
      paragraphs: [`${by(actor, organisation)} has ${did}.`, LOOK],
      button,
    }
  },
  webhook_removed: ({ organisation, actor, host }) => ({
    subject: `A webhook of ${organisation} was removed`,
    paragraphs: [
      `${by(actor, organisation)} has removed ${hook(host)}: the other system hears nothing more.`,
      'If nobody should have, add it again, and check who the administrators are.',
    ],
    button,
  }),
  webhook_tried: ({ organisation, actor, host, what }) => {
    const isAgain = what === 'webhook.retried'
    return {
      subject: isAgain
        ? `A webhook of ${organisation} was sent a delivery again`
        : `A webhook of ${organisation} was tested`,
      paragraphs: [
        `${by(actor, organisation)} has sent a ${isAgain ? 'delivery' : 'test'} to ${hook(host)}${isAgain ? ' once more' : ''}.`,
        LOOK,
      ],
      button,
    }
  },
  webhook_rested: ({ organisation, host }) => ({
    subject: `A webhook of ${organisation} does not answer, and is no longer tried`,
    paragraphs: [
      `A webhook of ${organisation}${at(host)} has failed for more than ${inWords(REST_AFTER.ms)}, or said that it is gone for good.`,
      'What it is owed is kept for a while. It goes out once the webhook is changed or resumed, or a test of it succeeds.',
    ],
    button,
  }),
} satisfies Record<string, Write>
