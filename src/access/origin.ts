import type { Context } from 'hono'
import { AppError } from '../http/problem.ts'

export const originNotAllowed = () =>
  new AppError(
    403,
    'origin_not_allowed',
    'With a cookie, only pages of this origin or of COOKIE_ORIGINS may change anything.',
  )

/** What the browser says about where a request came from. No page can change these headers. */
const saidBy = (c: Context) => ({
  origin: c.req.header('origin'),
  site: c.req.header('sec-fetch-site'),
})

/**
 * Whether a page of ours, or of one of `origins`, made the request. If the browser sends no origin (`null`,
 * or none at all), it has to say that it is the same origin.
 */
export function comesFrom(c: Context, origins: readonly string[]): boolean {
  const { origin, site } = saidBy(c)
  if (origin === undefined || origin === 'null') return site === 'same-origin'
  return origin === new URL(c.req.url).origin || origins.includes(origin)
}

/** Whether a browser made the request for any other page. Programs send no such headers. */
export function comesFromElsewhere(c: Context, origins: readonly string[]): boolean {
  const { origin, site } = saidBy(c)
  return (origin !== undefined || site !== undefined) && !comesFrom(c, origins)
}
