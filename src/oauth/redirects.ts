import { isLoopback } from '../config/checks.ts'

export const MAX_URI_LENGTH = 512

/**
 * What is wrong with an address that an app gives; undefined if it is valid. It is compared as a string later
 * (RFC 9700 section 2.1), so it must be written as a browser would write it.
 *
 * @param takesSchemes whether a native app's private-use scheme, a reversed domain, is allowed (RFC 8252
 *   section 7.1).
 */
export function faultOfUri(value: string, { takesSchemes = false } = {}): string | undefined {
  const url = URL.parse(value)
  if (!url || !/^[\x21-\x7e\x80-\uffff]+$/.test(value) || value.includes('\\')) return 'Is not a URL.'
  if (!/^[\x21-\x7e]+$/.test(value)) return `Has to be written ${url.href}`
  if (value.includes('#')) return 'Has a fragment.'
  if (url.username || url.password) return 'Has a name or password in it.'
  if (value.includes('*')) return 'Has a wildcard: addresses are compared as a whole.'
  if (url.protocol === 'https:' || isLoopbackHttp(url)) {
    // A native app may also be given port 80, which browsers omit.
    const written = isLoopbackHttp(url) ? value.replace(/^(http:\/\/[^/?]+):80(?=[/?]|$)/, '$1') : value
    return url.href === written || url.href === `${written}/` ? undefined : `Has to be written ${url.href}`
  }
  if (url.protocol === 'http:') return 'Is http://, so what is sent there travels in the clear.'
  if (!takesSchemes || !/^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+:$/.test(url.protocol))
    return 'Has a scheme that is not allowed.'
  return undefined
}

const isLoopbackHttp = (url: URL | null) => url?.protocol === 'http:' && isLoopback(url.hostname)

/**
 * Whether a request's redirect URI is registered: compared exactly, except for the port of a loopback
 * address, which a native app is given when it starts (RFC 8252 section 7.3).
 */
export function isRegistered(uri: string, registered: readonly string[]): boolean {
  if (uri.length > MAX_URI_LENGTH) return false
  if (registered.includes(uri)) return true
  const url = URL.parse(uri)
  if (!isLoopbackHttp(url) || faultOfUri(uri) !== undefined) return false
  const withoutPort = (text: string) => text.replace(/^(http:\/\/(?:\[::1\]|[^/:?]+)):\d+/, '$1')
  return registered.some((one) => isLoopbackHttp(URL.parse(one)) && withoutPort(one) === withoutPort(uri))
}

/** Where remembered consent suffices: nobody else can receive at an https address (RFC 8252 section 8.6). */
export const isTrustworthy = (uri: string) => uri.startsWith('https://')

/** Adds parameters to the query (RFC 6749 section 3.1.2). */
export const withParams = (uri: string, params: Record<string, string>) =>
  `${uri}${uri.includes('?') ? '&' : '?'}${new URLSearchParams(params)}`

/** The target of a page's form (`form-action`): an origin, or the scheme of a native app. */
export function originOf(uri: string): string {
  const { origin, protocol } = new URL(uri)
  return origin === 'null' ? protocol : origin
}
