import { availableParallelism } from 'node:os'
import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { kCurrentWorker } from 'miniflare'
import { defineConfig } from 'vitest/config'
import { isMutating, mutation } from './test/support/mutation.ts'
import { KEPT } from './test/support/scripts.ts'

/** What talks to the Worker from outside, or to none: in Node. */
const IN_NODE = [
  'test/imports.test.ts',
  'client/test/*.test.ts',
  'test/{scripts,browser,floods,processes}/**/*.test.ts',
]

/** What takes its time: faults, floods, hostile input, a browser, and whatever starts processes of its own. */
const SLOW = [
  'client/test/**',
  'test/{faults,floods,processes,browser}/**',
  'test/scripts/{bundle,checks,dev,operators,restore,setup}.test.ts',
]
/** `npm run test:fast` and `npm run test:watch` leave that out. */
const leftOut = process.env.FAST === '1' ? SLOW : []

/**
 * Nobody waits so long but for what hangs: the same test takes several times as long on a machine that is busy. Tests
 * have no limits of their own, and waits within them are as generous.
 */
const PATIENCE = {
  testTimeout: isMutating ? 60_000 : 300_000,
  hookTimeout: 300_000,
  expect: { poll: { timeout: isMutating ? 15_000 : 60_000 } },
}

/** What waits for a process or a page may wait too long on a machine that is busy; what is wrong is wrong each time. */
const RETRIES = isMutating ? 0 : 2

/** Leaves out what `npm run test:mutations` asks to, and tells what was reached. */
const LEFT_OUT = isMutating ? ['./test/support/left-out.ts'] : []

export default defineConfig({
  test: {
    // As many as there are cores: tests wait for processes, pages and the clock, and one at a time left two cores half idle.
    maxWorkers: availableParallelism(),
    // Not in the worker project: there, Vite would resolve the packages that it imports for a browser.
    globalSetup: './test/support/global-setup.ts',
    reporters: ['default', './test/support/report.ts'],
    projects: [
      {
        // The Worker's own tests run where the Worker runs: in workerd.
        plugins: [
          ...(isMutating ? [mutation()] : []),
          cloudflareTest(({ inject }) => ({
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              bindings: inject('bindings'),
              email: { send_email: [{ name: 'EMAIL' }] },
              // As another Worker binds it.
              serviceBindings: { ROSTER: { name: kCurrentWorker, entrypoint: 'Roster' } },
            },
          })),
        ],
        test: {
          name: 'worker',
          include: ['test/**/*.test.ts'],
          setupFiles: ['./test/support/after-file.ts', ...LEFT_OUT],
          exclude: [...IN_NODE, ...leftOut],
          ...PATIENCE,
          ...(process.env.WHOLE === '1' && { testTimeout: 1_800_000 }),
          retry: RETRIES,
        },
      },
      {
        plugins: isMutating ? [mutation()] : [],
        test: {
          name: 'node',
          setupFiles: LEFT_OUT,
          include: IN_NODE,
          exclude: leftOut,
          env: KEPT,
          ...PATIENCE,
          retry: RETRIES,
        },
      },
    ],
  },
})
