import type { IDToken } from 'oauth4webapi'
import type { IdentityProvider } from '../config/providers.ts'
import { isEmail, normalizeEmail, shownEmail } from '../values/email.ts'
import { cutText } from '../values/text.ts'

/** Who somebody is at a provider. */
export interface Profile {
  subject: string
  email: string | undefined
  /**
   * Whether the provider proves the address. If not, a mail is sent there, and nothing changes until its link
   * is used.
   */
  isProved: boolean
  name: string | undefined
  /** Two factors were used at the provider, and its `amr` is trusted. */
  isTwofold: boolean
  /** When the provider last authenticated them, if it says so (epoch seconds); possibly days ago. */
  authTime?: number | undefined
}

const MAX_NAME_LENGTH = 100

const domainOf = (email: string) => normalizeEmail(email).split('@')[1]!

/** The profile in an ID token, which must have been verified completely. */
export function profileIn(provider: IdentityProvider, claims: IDToken, answered: URLSearchParams): Profile {
  const { kind, trust_amr } = provider
  const email = emailIn(claims.email)
  // Only Apple may send it as a string.
  const isVerified =
    claims.email_verified === true || (kind === 'apple' && (claims.email_verified as unknown) === 'true')
  const amr = Array.isArray(claims.amr) ? claims.amr : []
  const given =
    typeof claims.name === 'string' ? claims.name : kind === 'apple' ? nameOfApple(answered) : undefined
  return {
    subject: claims.sub,
    email,
    isProved: email !== undefined && isVerified && provesAddress(provider, email, claims.hd),
    name: nameIn(given),
    isTwofold: trust_amr && (amr.includes('mfa') || (amr.includes('pwd') && amr.includes('otp'))),
    authTime: claims.auth_time,
  }
}

/** An address as it is stored and shown, however it was typed at the provider. */
export const emailIn = (given: unknown): string | undefined =>
  typeof given === 'string' && isEmail(given) ? shownEmail(given.trim()) : undefined

/** A provider proves only addresses within its domains. */
export function provesAddress({ kind, domains }: IdentityProvider, email: string, hd?: unknown): boolean {
  const domain = domainOf(email)
  if (domains.length > 0 && !domains.includes(domain)) return false
  switch (kind) {
    case 'google':
      // https://developers.google.com/identity/gsi/web/guides/verify-google-id-token
      return domain === 'gmail.com' || domain === 'googlemail.com' || hd === domain
    case 'github':
    case 'apple':
      return true
    case 'microsoft':
      // There, an address is whatever the administrator of a tenant has typed.
      return false
    case 'oidc':
      return domains.length > 0
  }
}

/**
 * Apple sends the name once, outside the token, where anybody could forge it. That is harmless: users choose
 * their own names.
 */
function nameOfApple(answered: URLSearchParams): string | undefined {
  try {
    const { name } = JSON.parse(answered.get('user') ?? '') as {
      name?: { firstName?: string; lastName?: string }
    }
    return [name?.firstName, name?.lastName].filter((part) => typeof part === 'string').join(' ')
  } catch {
    return undefined
  }
}

export function nameIn(given: unknown): string | undefined {
  if (typeof given !== 'string') return undefined
  const name = cutText(given.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, ' ').trim(), MAX_NAME_LENGTH).trim()
  return name === '' ? undefined : name
}
