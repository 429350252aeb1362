import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { kCurrentWorker } from 'miniflare'
import { defineConfig } from 'vitest/config'
import { mutant, mutation } from './test/support/mutation.ts'
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
  testTimeout: 300_000,
  hookTimeout: 300_000,
  expect: { poll: { timeout: 60_000 } },
}

/** What waits for a process or a page may wait too long on a machine that is busy; what is wrong is wrong each time. */
const RETRIES = mutant ? 0 : 2

/** What changes the runtime itself, or depends on what the Worker keeps there: upstreams that fail, calls that are counted, providers. */
const NEEDS_ITS_OWN =
  /\b(vi|performance)\.|'full'|\b(behave|between|land|measure|calls)\(|support\/(crowd|documents|identities|traffic|webhooks)/
/**
 * Files that do nothing of the kind share a runtime: to start one and load the Worker there takes longer than most of
 * them. Each of the others has its own.
 */
const TOGETHER = readdirSync(join(import.meta.dirname, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => `test/${file}`)
  .filter((file) => !NEEDS_ITS_OWN.test(readFileSync(join(import.meta.dirname, file), 'utf8')))

/** The Worker's own tests run where the Worker runs: in workerd. */
const workers = (files: { name: string; include: string[]; exclude: string[]; isolate?: boolean }) => ({
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
    ...files,
    ...PATIENCE,
    ...(process.env.WHOLE === '1' && { testTimeout: 1_800_000 }),
    retry: RETRIES,
  },
})

export default defineConfig({
  test: {
    // As many as there are cores: tests wait for processes, pages and the clock, and one at a time left two cores half idle.
    maxWorkers: availableParallelism(),
    // Not in the worker project: there, Vite would resolve the packages that it imports for a browser.
    globalSetup: './test/support/global-setup.ts',
    // With something left out, what fails says nothing of the tests.
    reporters: mutant ? ['dot'] : ['default', './test/support/report.ts'],
    projects: [
      workers({
        name: 'worker',
        include: ['test/**/*.test.ts'],
        exclude: [...IN_NODE, ...leftOut, ...TOGETHER],
      }),
      workers({
        name: 'worker-together',
        include: TOGETHER,
        exclude: [...IN_NODE, ...leftOut],
        isolate: false,
      }),
      {
        plugins: mutant ? [mutation(mutant)] : [],
        test: {
          name: 'node',
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
