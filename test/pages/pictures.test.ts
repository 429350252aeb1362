import { expect, test } from 'vitest'
import { SIGNED_IN, SIGNED_OUT } from '../../scripts/local/shots.ts'
import { PAGES } from '../support/pages.ts'

/** Redirects and downloads, and pages that a demo has no reason to show. */
const NOT_WALKED = new Set([
  'GET /',
  'GET /.well-known/change-password',
  'GET /:brand{brand\\.[0-9a-f]+\\.css}',
  'GET /signin/factor',
  'GET /signin/with/:provider/callback',
  'GET /signin/with/:provider/link',
  'GET /terms',
  'GET /account/data/export',
  'GET /admin/people/bulk',
  'GET /admin/people/export',
  'GET /admin/people/:id/export',
  'GET /admin/activity/export',
])

test('npm run screenshots visits every page', () => {
  const shown = [...SIGNED_OUT, ...SIGNED_IN].map(
    ({ path, shows, of }) => shows ?? (of ? '/admin/people/:id' : path.replace(/\?.*/, '')),
  )
  const pages = Object.keys(PAGES).filter((route) => route.startsWith('GET ') && !NOT_WALKED.has(route))
  expect(pages.filter((route) => !shown.includes(route.slice('GET '.length)))).toEqual([])
})
