import { execFileSync } from 'node:child_process'
import spectral from '@stoplight/spectral-core'
import rulesets from '@stoplight/spectral-rulesets'
import { FILE, writeDocument } from './openapi.ts'

/** Checks the API document with other people's linters: Redocly's recommended rules, and Spectral's for OpenAPI. */
const document = await writeDocument()

const linter = new spectral.Spectral()
linter.setRuleset({ extends: [[rulesets.oas, 'recommended']] } as never)
const found = await linter.run(structuredClone(document))
const errors = found.filter(({ severity }) => severity === 0)
for (const { code, message, path } of errors) console.error(`${code} ${path.join('.')}: ${message}`)
const warnings = Map.groupBy(
  found.filter(({ severity }) => severity > 0),
  ({ code }) => code,
)
for (const [code, those] of warnings) console.log(`${code}: ${those.length} warnings`)
if (errors.length > 0) process.exit(1)

execFileSync('redocly', ['lint', FILE, '--extends=recommended', '--format=summary'], {
  stdio: 'inherit',
  env: { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' },
})
