import { expect, test } from 'vitest'
import { BUNDLE_BUDGET_BYTES, buildBundle } from '../../bench/bundle.ts'

test('The deployed Worker is no larger than its budget', () => {
  const { modules, gzipBytes, packages } = buildBundle()
  expect(packages.map(([name]) => name)).toContain('hono') // It is the real thing.
  expect(gzipBytes).toBeLessThanOrEqual(BUNDLE_BUDGET_BYTES)
  // One character beyond ASCII, which only a tagged template keeps, and V8 holds the whole script with two bytes for each.
  const script = String(modules['index.js'])
  expect(Buffer.byteLength(script)).toBe(script.length)
})
