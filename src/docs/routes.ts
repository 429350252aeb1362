import { raw } from 'hono/html'
import type { AppEnv } from '../context.ts'
import { Hono } from '../hono.ts'
import { page } from '../html.ts'
import { operation } from '../operation.ts'
import style from './page.css'
import body from './page.html'
import script from './page.js'

/** The page knows nothing of the API: its script draws what /openapi.json says. */
export const docsRoutes = new Hono<AppEnv>().get(
  '/docs',
  operation({
    tag: 'system',
    summary: 'This document, as a page to read and to try',
    answers: { 200: 'html' },
  }),
  (c) => page(c, { title: 'Roster API', style, script, body: raw(body) }, { 'connect-src': "'self'" }),
)
