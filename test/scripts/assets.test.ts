import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const PUBLIC = resolve(import.meta.dirname, '../../public')
const files = readdirSync(PUBLIC).map((name) => ({ name, text: readFileSync(join(PUBLIC, name), 'utf8') }))

test('AC4: what pages load refers to no other origin, and stores nothing in the browser', () => {
  for (const { name, text } of files) {
    // But for which passkey was tried, until the next page has told the authenticator what is left.
    const allowed = text
      .replace('http://www.w3.org/2000/svg', '')
      .replaceAll(/sessionStorage\.\w+\(TRIED\b/g, '')
    expect(allowed, name).not.toMatch(
      /https?:\/\/|@import ["'u]|url\((?!["']?data:)|localStorage|sessionStorage|indexedDB|document\.cookie/,
    )
  }
})

test('AC1: nothing that pages load turns text into markup', () => {
  for (const { name, text } of files) {
    expect(text, name).not.toMatch(
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function/,
    )
  }
})

test('HD3: what is served without running the Worker has the headers of every answer', () => {
  const { text } = files.find(({ name }) => name === '_headers')!
  for (const header of [
    "content-security-policy: default-src 'none'; frame-ancestors 'none'",
    'cross-origin-resource-policy: same-origin',
    'referrer-policy: no-referrer',
    'strict-transport-security: max-age=63072000; includeSubDomains',
    'x-content-type-options: nosniff',
  ]) {
    expect(text).toContain(header)
  }
})
