import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, test } from 'vitest'
import { PER_MINUTE } from '../../src/throttle/limits.ts'

test('HX19: the limits that the platform counts are the same in wrangler.toml and in the table', () => {
  const toml = readFileSync(resolve(import.meta.dirname, '../../wrangler.toml'), 'utf8')
  const found = [...toml.matchAll(/name = "(RATE_LIMIT_\w+)"[^[]*?limit = (\d+), period = 60/g)]
  const ids = [...toml.matchAll(/namespace_id = "(\d+)"/g)].map(([, id]) => id)
  expect([...new Set(ids)], 'each counts for itself').toEqual(ids)
  expect(Object.fromEntries(found.map(([, name, limit]) => [name, Number(limit)]))).toEqual(PER_MINUTE)
})
