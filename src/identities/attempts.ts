import { createHmac } from 'node:crypto'
import { v7 as uuidv7 } from 'uuid'
import type { Config } from '../config/main.ts'
import { digestOf } from '../crypto/digest.ts'
import { decryptJson, encryptJson } from '../crypto/encryption.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { MINUTE_MS } from '../values/durations.ts'
import { timeOfId } from '../values/ids.ts'

/** How long somebody may stay at their provider. */
export const ATTEMPT_MS = 10 * MINUTE_MS

type Keys = Pick<Config, 'keys'>

/** A sign-in at a provider that has begun: the browser keeps it until they come back. */
export interface Attempt {
  /** Contains the time of the beginning. It can be used once. */
  id: string
  provider: string
  /** To sign in, to connect the identity to an account, or to authenticate again. */
  purpose: 'signin' | 'link' | 'again'
  /** The signed-in user, unless the purpose is to sign in. */
  actor?: Claims
  to?: string | undefined
  target?: string | undefined
  stays: boolean
}

export const newAttempt = (given: Omit<Attempt, 'id'>): Attempt => ({ id: uuidv7(), ...given })

/** Seals a value that the browser or Redis keeps for a while; `kind` tells such values apart. */
export const sealValue = ({ keys }: Keys, kind: string, value: object): Promise<string> =>
  encryptJson(keys.identity_provider, value, kind)

/** Opens such a value; undefined if it is anything else. */
export const openValue = <T extends object>({ keys }: Keys, kind: string, sealed: string | undefined) =>
  decryptJson<T>(keys.identity_provider, sealed ?? '', kind)

export const isInTime = (id: string, now: number, lifetimeMs = ATTEMPT_MS) => {
  const age = now - timeOfId(id)
  return age < lifetimeMs && age > -MINUTE_MS
}

/**
 * State, nonce and verifier travel by the browser. They are derived from the id, so none is stored, and none
 * can be guessed (256 bits each).
 */
export const stateOf = ({ keys }: Keys, { id, provider }: Attempt) =>
  seal(keys.identity_provider, `state.${provider}.${id}`)

export const isStateOf = ({ config }: { config: Keys }, { id, provider }: Attempt, state: string | null) =>
  openSealed(config.keys.identity_provider, state ?? '') === `state.${provider}.${id}`

/** Lets a signed-in user begin to connect a provider in a browser, within ten minutes. */
interface Ticket {
  id: string
  provider: string
  actor: Claims
}
export const makeTicket = ({ config }: { config: Keys }, provider: string, actor: Claims) =>
  sealValue(config, 'ticket', { id: uuidv7(), provider, actor })
export async function openTicket(
  { config, now }: { config: Keys; now: number },
  provider: string,
  sealed: string,
) {
  const ticket = await openValue<Ticket>(config, 'ticket', sealed)
  return ticket?.provider === provider && isInTime(ticket.id, now) ? ticket : undefined
}

/** Proves that an app sent somebody to a provider, and to which page they return. */
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
