import { ConfigError, configOf } from '../src/config/main.ts'
import { readArguments, runCommand } from './command.ts'
import { withResources } from './create-admin.ts'
import { lookAtDatabase } from './doctor/database.ts'
import { lookAtDeployment } from './doctor/deployment.ts'
import { type Finding, ok, type Verdict, wrong } from './doctor/findings.ts'
import { lookAtRedis } from './doctor/redis.ts'

const USAGE = `npm run doctor -- --settings .roster-roster.env

Checks a deployment, by the settings of its Worker, and says what is wrong and what to do about it. Writes nothing.
Exits with 1 if something is wrong.

With UPSTASH_EMAIL and UPSTASH_API_KEY, a management key of the account at Upstash, it checks whether Redis evicts.`

const MARKS: Record<Verdict, string> = { ok: 'ok   ', note: 'note ', wrong: 'WRONG' }

async function examine(env: Record<string, string | undefined>): Promise<Finding[]> {
  // Only wrangler.toml knows whether the Worker has a binding that sends mail.
  const settings = { EMAIL: 'perhaps', ...env }
  try {
    configOf(settings)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.sentences.map((sentence) => wrong('settings', sentence))
  }
  return withResources(settings, async (resources) => [
    ok('settings', 'They are all there, and fit.'),
    ...(await lookAtDeployment(resources.config)),
    ...(await lookAtDatabase(resources)),
    ...(await lookAtRedis(resources, {
      email: env.UPSTASH_EMAIL,
      apiKey: env.UPSTASH_API_KEY,
      url: env.UPSTASH_API_URL ?? 'https://api.upstash.com',
    })),
  ])
}

async function main() {
  const { isDryRun } = readArguments({ usage: USAGE, options: {}, ofDeployment: true })
  if (isDryRun) return console.log('Would look at a deployment, and write nothing, as without --dry-run.')
  const findings = await examine(process.env)
  for (const { about, verdict, says } of findings)
    console.log(`${MARKS[verdict]}  ${about.padEnd(14)}  ${says}`)
  const faults = findings.filter(({ verdict }) => verdict === 'wrong').length
  console.log(
    faults === 0 ? '\nNothing is wrong.' : `\n${faults} ${faults === 1 ? 'thing is' : 'things are'} wrong.`,
  )
  process.exitCode = faults === 0 ? 0 : 1
}

if (import.meta.main) runCommand(main)
