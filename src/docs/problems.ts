import { html } from 'hono/html'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { operation } from '../http/operation.ts'
import { page } from '../http/page.ts'
import { type AppError, methodNotAllowed, notFound, problemOf } from '../http/problem.ts'
import { text } from '../values/text.ts'
import { ANYWHERE, operationsOf, type Router } from './openapi.ts'

export interface KnownProblem {
  error: AppError
  /** The routes that answer it; empty if any may. */
  routes: string[]
}

/** Every problem, by its code: those that routes declare, and those that any address may answer. */
export function problemsOf(router: Router): Map<string, KnownProblem> {
  const known = new Map<string, KnownProblem>()
  const anywhere = [...ANYWHERE, notFound, () => methodNotAllowed(['GET'])]
  for (const make of anywhere) known.set(make().code, { error: make(), routes: [] })
  for (const [route, parts] of operationsOf(router)) {
    for (const make of parts.flatMap(({ problems = [] }) => problems)) {
      const error = make()
      const problem = known.get(error.code) ?? { error, routes: [] }
      known.set(error.code, problem)
      if (!anywhere.some((other) => other().code === error.code)) problem.routes.push(route)
    }
  }
  return known
}

const STYLE = `
body { font: 17px/1.5 system-ui, sans-serif; max-width: 36em; margin: 12vh auto 0; padding: 0 1.5em }
h1 { font-size: 1.4em; line-height: 1.2 }`

/** The pages that the `type` of a problem leads to (RFC 9457 section 3.1.1). */
export function problemRoutes(router: Router) {
  let known: Map<string, KnownProblem> | undefined
  return new Hono<AppEnv>().get(
    '/problems/:code',
    operation({
      id: 'describeProblem',
      tag: 'system',
      summary: 'What a problem is about, as a page',
      description: 'Where the `type` of each problem leads.',
      path: { code: () => text(64).meta({ description: 'The `code` of a problem.' }) },
      responses: { 200: 'html' },
      problems: [notFound],
    }),
    (c) => {
      known ??= problemsOf(router)
      const problem = known.get(c.req.param('code'))
      if (!problem) throw notFound()
      const { title, status, detail, code } = problemOf(problem.error, '', '')
      const routes = problem.routes.map((route) => html`<li><code>${route}</code></li>`)
      const where = routes.length > 0 ? html`<p>Answered by</p><ul>${routes}</ul>` : ''
      return page(c, {
        title: code,
        style: STYLE,
        body: html`<main><h1>${code}</h1><p>${status} ${title}</p><p>${detail}</p>${where}</main>`,
      })
    },
  )
}
