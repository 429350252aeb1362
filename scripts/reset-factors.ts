import { bySystem, changeUserBy, isSamePerson } from '../src/users/change.ts'
import { noticeTo, toMails } from '../src/users/managing/notices.ts'
import { EmailInput } from '../src/users/schemas.ts'
import { readArguments, runCommand } from './command.ts'
import { findByEmail, parseInput, withResources } from './create-admin.ts'

const USAGE = `npm run admin:reset-factors -- --email you@your-domain

Takes away the authenticator app, the passkeys and the recovery codes of a user who has lost them, and ends their
sessions: for the administrator whom nobody outranks. They are told by mail, and then sign in with their password.

  --dry-run   says whose factors would be reset, and does nothing`

/** Uses the functions of the API, so the history has an entry (actor: the system). Returns whether the user exists. */
export const resetFactors = (env: object, email: string, isDryRun: boolean): Promise<boolean> =>
  withResources(env, async (resources) => {
    const user = await findByEmail(resources, email)
    if (!user || isDryRun) return user !== undefined
    await changeUserBy(resources, bySystem, user.id, (row) => ({
      action: 'factors.reset',
      set: { failed_factors: 0 },
      reliesOn: isSamePerson(user),
      removesFactors: true,
      endsTokens: true,
      endsSessions: { reason: 'factors_changed' },
      mails: toMails(noticeTo(resources, 'factors_reset', row)),
    }))
    return true
  })

async function main() {
  const { values, isDryRun } = readArguments({
    usage: USAGE,
    options: { email: { type: 'string' } },
    ofDeployment: true,
  })
  if (!values.email) throw new Error(`--email is missing.\n\n${USAGE}`)
  const email = parseInput(EmailInput(), values.email, values.email)
  if (!(await resetFactors({ EMAIL: 'perhaps', ...process.env }, email, isDryRun)))
    throw new Error(`There is no user with ${email}.`)
  console.log(
    `${email}: ${isDryRun ? 'their second factors would be reset' : 'their second factors are reset'}`,
  )
}

if (import.meta.main) runCommand(main)
