import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { kCurrentWorker } from 'miniflare'
import { defineConfig } from 'vitest/config'
import { mutant, mutation } from './test/support/mutation.ts'

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
  'test/scripts/{bundle,checks,dev,operators}.test.ts',
]
/** `npm run test:fast` and `npm run test:watch` leave that out. */
const leftOut = process.env.FAST === '1' ? SLOW : []

/** What waits for a process or a page may wait too long on a machine that is busy; what is wrong is wrong twice. */
const RETRIES = mutant ? 0 : 1

export default defineConfig({
  test: {
    // Not in the worker project: there, Vite would resolve the packages that it imports for a browser.
    globalSetup: './test/support/global-setup.ts',
    // With something left out, what fails says nothing of the tests.
    reporters: mutant ? ['dot'] : ['default', './test/support/report.ts'],
    projects: [
      {
        // The Worker's own tests run where the Worker runs: in workerd.
        plugins: [
          ...(mutant ? [mutation(mutant)] : []),
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
          exclude: [...IN_NODE, ...leftOut],
          // Short for one behaviour, long for what goes round many times.
          testTimeout: process.env.WHOLE === '1' ? 1_800_000 : 30_000,
          // Many files start upstreams of their own there, which takes its time on a busy machine.
          hookTimeout: 60_000,
          retry: RETRIES,
        },
      },
      {
        plugins: mutant ? [mutation(mutant)] : [],
        test: { name: 'node', include: IN_NODE, exclude: leftOut, testTimeout: 60_000, retry: RETRIES },
      },
    ],
  },
})
