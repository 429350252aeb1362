import type { Resources } from '../context.ts'
import { digestOf } from '../crypto/digest.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { HOUR_MS } from '../values/durations.ts'
import { isPushed, openPushed } from './pushed.ts'

/** The place at which a request goes on after a page of ours. */

export const ASKED = 'asked'
/** What the request is without: ours, and what is long and looked at once. */
const APART = [ASKED, 'lang', 'id_token_hint']

/** A place that lies about in a history would make any later proof a fresh one: after that it is asked anew. */
export const ASKED_MS = HOUR_MS

/** When a request was first made (epoch ms), and whom it is about, where it says so. */
export interface FirstAsked {
  at: number
  sub: string | undefined
}

/** Where to go on after a page of ours: the same request, with when it was first made, sealed to it. */
export function placeAfter({ config }: Resources, search: string, { at, sub }: FirstAsked): string {
  const query = withoutApart(search)
  // By its digest, as a seal holds no more.
  const asked = seal(config.keys.oauth_asked, `asked.${digestOf(query)}.${at}.${sub ?? ''}`)
  return `/oauth/authorize?${query}&${ASKED}=${asked}`
}

export const withoutApart = (search: string) =>
  search
    .replace(/^\?/, '')
    .split('&')
    .filter((field) => field !== '' && !APART.includes(nameIn(field)))
    .join('&')

/** As it is read later: however it is escaped. */
const nameIn = (field: string) => [...new URLSearchParams(field).keys()][0]!

/** When a request was first made, where one of our pages sent it. */
export function openAsked({ config }: Pick<Resources, 'config'>, search: string): FirstAsked | undefined {
  const given = new URLSearchParams(search).get(ASKED) ?? ''
  const [, whose, at, sub] =
    /^asked\.([\w-]{43})\.(\d{1,15})\.([0-9a-f-]{36})?$/.exec(
      openSealed(config.keys.oauth_asked, given) ?? '',
    ) ?? []
  return whose === digestOf(withoutApart(search)) ? { at: Number(at), sub } : undefined
}

/** Where a place of ours leads on to: the app's address, as it was looked at before the place was sealed. */
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
