import { createMiddleware } from 'hono/factory'
import { hasRecentLogin } from '../access/guards.ts'
import type { PageEnv } from './session.ts'

/** The page on which somebody proves again who they are, on the way to a page of ours. */
export const againAt = (to: string, carried?: string) =>
  `/signin/again?${new URLSearchParams({ to, ...(carried && { carried }) })}`

/** Where they go back to: that page, with what they had typed there. */
export const backTo = (to: string, carried: string | undefined) =>
  carried ? `${to}${to.includes('?') ? '&' : '?'}${new URLSearchParams({ carried })}` : to

/** For a form that needs a recent login: sends anybody else to prove who they are, and back to `page`. */
export const recentlyConfirmed = (page: string) =>
  createMiddleware<PageEnv>(async (c, next) => {
    if (!hasRecentLogin(c.var.actor, c.var.now)) return c.redirect(againAt(page), 303)
    await next()
    return undefined
  })
