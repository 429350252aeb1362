import { createMiddleware } from 'hono/factory'
import { isRecent } from '../access/guards.ts'
import { relyOnTurn } from '../sessions/turns.ts'
import type { PageEnv } from './session.ts'

/** The page that has somebody prove again who they are, on the way to a page of ours. */
export const againAt = (to: string, carried?: string) =>
  `/signin/again?${new URLSearchParams({ to, ...(carried && { carried }) })}`

/** Sends somebody who has not proved lately who they are to do so, and back to `page`, before a form is taken. */
export const recentlyConfirmed = (page: string) =>
  createMiddleware<PageEnv>(async (c, next) => {
    if (!isRecent(c.var.actor, c.var.now)) return c.redirect(againAt(page), 303)
    relyOnTurn(c.var.actor)
    await next()
    return undefined
  })
