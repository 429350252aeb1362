import type { Resources } from '../context.ts'
import { digestOf } from '../crypto/digest.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { HOUR_MS } from '../values/durations.ts'
import { isPushed, openPushed } from './pushed.ts'

/** The URL at which a request continues after a page of ours. */

export const ASKED = 'asked'
/** Parameters that are left out: our own, and a long one that is read only once. */
const APART = [ASKED, 'lang', 'id_token_hint']

/** A URL left in a browser's history would let any later login count as fresh, so it expires. */
export const ASKED_MS = HOUR_MS

/** When a request was first made (epoch ms), and for which user, if it names one. */
export interface FirstAsked {
  at: number
  sub: string | undefined
}

/**
 * Where to continue after a page of ours: the same request, with the time it was first made, sealed to it.
 */
export function urlAfter({ config }: Resources, search: string, { at, sub }: FirstAsked): string {
  const query = withoutApart(search)
  // By its digest, as a seal can hold no more.
  const asked = seal(config.keys.oauth_asked, `asked.${digestOf(query)}.${at}.${sub ?? ''}`)
  return `/oauth/authorize?${query}&${ASKED}=${asked}`
}

export const withoutApart = (search: string) =>
  search
    .replace(/^\?/, '')
    .split('&')
    .filter((field) => field !== '' && !APART.includes(nameIn(field)))
    .join('&')

/** The name as it is parsed later, however it is escaped. */
const nameIn = (field: string) => [...new URLSearchParams(field).keys()][0]!

/** When a request was first made, if one of our pages sent it here. */
export function openAsked({ config }: Pick<Resources, 'config'>, search: string): FirstAsked | undefined {
  const given = new URLSearchParams(search).get(ASKED) ?? ''
  const [, whose, at, sub] =
    /^asked\.([\w-]{43})\.(\d{1,15})\.([0-9a-f-]{36})?$/.exec(
      openSealed(config.keys.oauth_asked, given) ?? '',
    ) ?? []
  return whose === digestOf(withoutApart(search)) ? { at: Number(at), sub } : undefined
}

/** The app's address to which such a URL leads; it was checked before the URL was sealed. */
export async function redirectAfter(
  resources: Pick<Resources, 'config'>,
  to: string | undefined,
): Promise<string | undefined> {
  const [, search] = /^\/(?:oauth\/authorize|consent)\?(.*)$/.exec(to ?? '') ?? []
  if (search === undefined || !openAsked(resources, search)) return undefined
  const query = new URLSearchParams(search)
  const requestUri = query.get('request_uri')
  const pushed = isPushed(requestUri) ? await openPushed(resources.config, requestUri) : undefined
  return (pushed ? new URLSearchParams(pushed.query) : query).get('redirect_uri') ?? undefined
}
