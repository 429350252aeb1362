import { Hono } from 'hono'
import type { AppEnv } from '../context.ts'
import { operation } from '../operation.ts'

export const docsRoutes = new Hono<AppEnv>().get(
  '/docs',
  operation({ tag: 'system', summary: 'This document, as a page' }),
  (c) => c.html('<!doctype html><title>Roster API</title>'),
)
