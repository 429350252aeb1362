import type { AppEnv } from '../../context.ts'
import { Hono } from '../../http/hono.ts'
import { notFound } from '../../http/problem.ts'
import { brandSheet } from './brand.ts'

/** The second stylesheet, if the organisation has set a colour. */
export const brandRoutes = new Hono<AppEnv>().get('/:brand{brand\\.[0-9a-f]+\\.css}', (c) => {
  const { BRAND_COLOUR: colour } = c.var.config
  const sheet = colour && brandSheet(colour)
  if (!sheet || sheet.path !== c.req.path) throw notFound()
  return c.body(sheet.css, 200, {
    'content-type': 'text/css; charset=utf-8',
    'cache-control': 'public, max-age=31536000, immutable',
  })
})
