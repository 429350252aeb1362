import type { IDToken } from 'oauth4webapi'
import type { IdentityProvider } from '../config/providers.ts'
import { isEmail, normalizeEmail, shownEmail } from '../values/email.ts'
import { cutText } from '../values/text.ts'

/** Who somebody is at a provider. */
export interface Profile {
  subject: string
  email: string | undefined
  /** Whether the provider's word proves the address: elsewhere a mail goes there, and nothing changes until it is used. */
  isProved: boolean
  name: string | undefined
  /** Two factors were shown there, and the provider is believed so. */
  isTwofold: boolean
  /** When the provider asked them who they are, where it says so (epoch seconds): it may have been days ago. */
  authTime?: number | undefined
}

const MAX_NAME_LENGTH = 100

const domainOf = (email: string) => normalizeEmail(email).split('@')[1]!

/** What an ID token says, once all of it is checked. */
export function profileIn(provider: IdentityProvider, claims: IDToken, answered: URLSearchParams): Profile {
  const { kind, trust_amr } = provider
  const email = emailIn(claims.email)
  // Only Apple may say it as text.
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

/** An address as it is kept and shown, whoever has typed it there. */
export const emailIn = (given: unknown): string | undefined =>
  typeof given === 'string' && isEmail(given) ? shownEmail(given.trim()) : undefined

/** A provider proves an address inside its domains alone. */
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
      // An address there is whatever somebody who manages a tenant has typed.
      return false
    case 'oidc':
      return domains.length > 0
  }
}

/** Apple tells a name once, beside the token, where anybody could have typed it: it is what one calls oneself. */
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
