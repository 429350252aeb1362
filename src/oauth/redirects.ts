import { isLoopback } from '../config/checks.ts'

export const MAX_URI_LENGTH = 512

/**
 * What is wrong with an address that an app names; undefined for a good one. It is compared letter by letter later (RFC
 * 9700 section 2.1), so it has to be written as a browser would write it.
 *
 * @param takesSchemes also a scheme of a native app's own, a domain reversed (RFC 8252 section 7.1).
 */
export function faultOfUri(value: string, { takesSchemes = false } = {}): string | undefined {
  const url = URL.parse(value)
  if (!url || !/^[\x21-\x7e\x80-\uffff]+$/.test(value) || value.includes('\\')) return 'Is not a URL.'
  if (!/^[\x21-\x7e]+$/.test(value)) return `Is written ${url.href}`
  if (value.includes('#')) return 'Has a fragment.'
  if (url.username || url.password) return 'Has a name or password in it.'
  if (value.includes('*')) return 'Has a wildcard: addresses are compared as a whole.'
  if (url.protocol === 'https:' || isLoopbackHttp(url)) {
    // A native app may be given port 80, too, which browsers leave out.
    const written = isLoopbackHttp(url) ? value.replace(/^(http:\/\/[^/?]+):80(?=[/?]|$)/, '$1') : value
    return url.href === written || url.href === `${written}/` ? undefined : `Is written ${url.href}`
  }
  if (url.protocol === 'http:') return 'Is http://, so what is sent there travels in the clear.'
  if (!takesSchemes || !/^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+:$/.test(url.protocol))
    return 'Has a scheme that is not taken here.'
  return undefined
}

const isLoopbackHttp = (url: URL | null) => url?.protocol === 'http:' && isLoopback(url.hostname)

/**
 * Whether a request's redirect URI is one of those that are registered: exactly, but for the port of a loopback address,
 * which a native app is given when it starts (RFC 8252 section 7.3).
 */
export function isRegistered(uri: string, registered: readonly string[]): boolean {
  if (uri.length > MAX_URI_LENGTH) return false
  if (registered.includes(uri)) return true
  const url = URL.parse(uri)
  if (!isLoopbackHttp(url) || faultOfUri(uri) !== undefined) return false
  const withoutPort = (text: string) => text.replace(/^(http:\/\/(?:\[::1\]|[^/:?]+)):\d+/, '$1')
  return registered.some((one) => isLoopbackHttp(URL.parse(one)) && withoutPort(one) === withoutPort(uri))
}

/** Where what is remembered suffices: nobody else can stand at an https address (RFC 8252 section 8.6). */
export const isTrustworthy = (uri: string) => uri.startsWith('https://')

/** With parameters more in its query (RFC 6749 section 3.1.2). */
export const withParams = (uri: string, params: Record<string, string>) =>
  `${uri}${uri.includes('?') ? '&' : '?'}${new URLSearchParams(params)}`

/** For a page whose form ends there (`form-action`): an origin, or the scheme of a native app. */
export function originOf(uri: string): string {
  const { origin, protocol } = new URL(uri)
  return origin === 'null' ? protocol : origin
}
