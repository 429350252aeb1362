import { createHmac } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import type { Config } from '../config/main.ts'
import { digestOf } from '../crypto/digest.ts'
import { decryptJson, encryptJson } from '../crypto/encryption.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { MINUTE_MS } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'

/** So long may somebody be at their provider. */
export const ATTEMPT_MS = 10 * MINUTE_MS

type Keys = Pick<Config, 'keys'>

/** Somebody who is on their way to a provider: what their browser keeps until they are back. */
export interface Attempt {
  /** Its time is the id's. It is good once. */
  id: string
  provider: string
  /** What for: to sign in, to connect it to an account, or to prove again who one is. */
  purpose: 'signin' | 'link' | 'again'
  /** Whoever is signed in, where it is not to sign in. */
  actor?: Claims
  to?: string | undefined
  target?: string | undefined
  stays: boolean
}

export const newAttempt = (given: Omit<Attempt, 'id'>): Attempt => ({ id: uuidv7(), ...given })

/** Seals what a browser keeps for a while, of one kind. */
export const sealKept = ({ keys }: Keys, kind: string, value: object): Promise<string> =>
  encryptJson(keys.identity_provider, value, kind)

/** The same, opened; undefined for anything else. */
export const openKept = <T extends object>({ keys }: Keys, kind: string, sealed: string | undefined) =>
  decryptJson<T>(keys.identity_provider, sealed ?? '', kind)

export const isInTime = (id: string, now: number, lifetimeMs = ATTEMPT_MS) => {
  const age = now - timeOfId(id)
  return age < lifetimeMs && age > -MINUTE_MS
}

/** What travels by the browser, derived of the id: none of it is kept, and none can be guessed (256 bits each). */
export const stateOf = ({ keys }: Keys, { id, provider }: Attempt) =>
  seal(keys.identity_provider, `state.${provider}.${id}`)

export const isStateOf = ({ config }: { config: Keys }, { id, provider }: Attempt, state: string | null) =>
  openSealed(config.keys.identity_provider, state ?? '') === `state.${provider}.${id}`

/** For somebody who is signed in: that they begin to connect a provider, within ten minutes, in a browser. */
interface Ticket {
  id: string
  provider: string
  actor: Claims
}
export const makeTicket = ({ config }: { config: Keys }, provider: string, actor: Claims) =>
  sealKept(config, 'ticket', { id: uuidv7(), provider, actor })
export async function openTicket(
  { config, now }: { config: Keys; now: number },
  provider: string,
  sealed: string,
) {
  const ticket = await openKept<Ticket>(config, 'ticket', sealed)
  return ticket?.provider === provider && isInTime(ticket.id, now) ? ticket : undefined
}

/** What says that an app has sent somebody to a provider, by the page that it may send them to. */
export const sentByUs = ({ config, now }: { config: Keys; now: number }, provider: string, to: string) =>
  seal(config.keys.identity_provider, `sent.${provider}.${digestOf(to)}.${now}`)

export function isSentByUs(
  { config, now }: { config: Keys; now: number },
  provider: string,
  to: string | undefined,
  sealed: string | undefined,
): boolean {
  const [, at] =
    new RegExp(`^sent\\.${provider}\\.${digestOf(to ?? '')}\\.(\\d+)$`).exec(
      openSealed(config.keys.identity_provider, sealed ?? '') ?? '',
    ) ?? []
  return at !== undefined && Math.abs(now - Number(at)) < MINUTE_MS
}

const derive = ({ keys }: Keys, what: string, { id }: Attempt) =>
  createHmac('sha256', keys.identity_provider[0]).update(`${what}.${id}`).digest('base64url')

export const nonceOf = (config: Keys, attempt: Attempt) => derive(config, 'nonce', attempt)
/** RFC 7636 section 4.1. */
export const verifierOf = (config: Keys, attempt: Attempt) => derive(config, 'verifier', attempt)
