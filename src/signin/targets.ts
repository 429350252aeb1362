import type { Resources } from '../context.ts'
import { digestOf } from '../crypto/digest.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import { redirectAfter } from '../oauth/places.ts'
import { originOf } from '../oauth/redirects.ts'
import { homeOf, placeOfOurs } from '../pages/session.ts'

/**
 * Where signing in may lead beside our own pages: to an address that stands in APP_URLS, exactly. It travels through the
 * forms as a sealed digest, which is short however long the address is, and is looked up again at the end: so no link and
 * no form leads anywhere else.
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
 * The origin at which a form ends that carries a target, or a place of ours that leads on to an app: the page's policy has
 * to allow it.
 */
export const originOfTarget = async (
  resources: Pick<Resources, 'config'>,
  sealed: string | undefined,
  to?: string | undefined,
) => {
  const url = openTarget(resources, sealed) ?? (await redirectAfter(resources, to))
  return url === undefined ? {} : { formAction: originOf(url) }
}

/** Where it goes on after signing in: a place of ours, or a sealed target. */
export interface Onwards {
  to?: string | undefined
  target?: string | undefined
}

/** As parameters of an address. */
export const paramsOf = ({ to, target }: Onwards) => ({ ...(to && { to }), ...(target && { target }) })

/** A page of ours from which it goes on there. */
export function onwards(path: string, on: Onwards): string {
  const query = new URLSearchParams(paramsOf(on))
  return query.size > 0 ? `${path}?${query}` : path
}

/** What a page or a form has brought along of it. */
export const onwardsIn = ({ to, target }: Record<string, string>): Onwards =>
  paramsOf({ to: placeOfOurs(to), target })

/** The same of an address of ours that an app leads to: it names one of APP_URLS by `redirect_to`. */
export const onwardsAsked = (
  resources: Pick<Resources, 'config'>,
  { redirect_to, ...query }: Record<string, string>,
): Onwards => ({ target: sealTarget(resources, redirect_to), ...onwardsIn(query) })

/**
 * Where somebody goes who has signed in. Pages of ours ask for their agreement to the terms themselves; on the way to an
 * app they are asked first.
 */
export function placeAfter(
  resources: Pick<Resources, 'config'>,
  role: string,
  { to, target }: Onwards,
): string {
  const url = openTarget(resources, target)
  if (url === undefined) return to ?? homeOf(role)
  return resources.config.TERMS_VERSION ? onwards('/terms', { target }) : url
}
