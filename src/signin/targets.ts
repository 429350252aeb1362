import type { Resources } from '../context.ts'
import { digestOf } from '../crypto/digest.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { redirectAfter } from '../oauth/places.ts'
import { originOf } from '../oauth/redirects.ts'
import { homeOf, placeOfOurs } from '../pages/session.ts'

/**
 * Where signing in may lead beside our own pages: to a URL that is listed in APP_URLS, exactly. Forms carry
 * it as a sealed digest, which is short however long the URL is, and look it up again at the end. So no link
 * or form leads anywhere else.
 */
function sealTarget({ config }: Pick<Resources, 'config'>, url: string | undefined): string | undefined {
  if (url === undefined || !config.APP_URLS.includes(url)) return undefined
  return seal(config.keys.form_token, `target.${digestOf(url)}`)
}

export function openTarget(
  { config }: Pick<Resources, 'config'>,
  sealed: string | undefined,
): string | undefined {
  const [, digest] = /^target\.([\w-]+)$/.exec(openSealed(config.keys.form_token, sealed ?? '') ?? '') ?? []
  return config.APP_URLS.find((url) => digestOf(url) === digest)
}

/**
 * The origin that a form with a target leads to, or a place of ours that redirects to an app: the page's
 * policy has to allow it.
 */
export const originOfTarget = async (
  resources: Pick<Resources, 'config'>,
  sealed: string | undefined,
  to?: string | undefined,
) => {
  const url = openTarget(resources, sealed) ?? (await redirectAfter(resources, to))
  return url === undefined ? {} : { formAction: originOf(url) }
}

/** Where to go after signing in: a place of ours, or a sealed target. */
export interface Continuation {
  to?: string | undefined
  target?: string | undefined
}

/** As parameters of a URL. */
export const paramsOf = ({ to, target }: Continuation) => ({ ...(to && { to }), ...(target && { target }) })

/** A page of ours that later continues there. */
export function withContinuation(path: string, on: Continuation): string {
  const query = new URLSearchParams(paramsOf(on))
  return query.size > 0 ? `${path}?${query}` : path
}

/** The destination that a page or a form has passed along. */
export const readContinuation = ({ to, target }: Record<string, string>): Continuation =>
  paramsOf({ to: placeOfOurs(to), target })

/** The same for a URL that an app links to: `redirect_to` names one of APP_URLS. */
export const requestedContinuation = (
  resources: Pick<Resources, 'config'>,
  { redirect_to, ...query }: Record<string, string>,
): Continuation => ({ target: sealTarget(resources, redirect_to), ...readContinuation(query) })

/**
 * Where somebody goes who has just signed in. Our own pages ask for agreement to the terms themselves;
 * somebody on the way to an app is asked first.
 */
export function destinationAfter(
  resources: Pick<Resources, 'config'>,
  role: string,
  { to, target }: Continuation,
): string {
  const url = openTarget(resources, target)
  if (url === undefined) return to ?? homeOf(role)
  return resources.config.TERMS_VERSION ? withContinuation('/terms', { target }) : url
}
