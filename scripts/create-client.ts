import { readFileSync } from 'node:fs'
import type { Resources } from '../src/context.ts'
import { AppError } from '../src/http/problem.ts'
import { type ClientWithSecret, CreateClient } from '../src/oauth/clients/schemas.ts'
import { makeClient, selectClient, setScopes } from '../src/oauth/clients/service.ts'
import { settingsOf } from '../src/oauth/clients/settings.ts'
import { DEVICE_CODE } from '../src/oauth/models.ts'
import { bySystem } from '../src/users/change.ts'
import { readArguments, runCommand } from './command.ts'
import { withResources } from './create-admin.ts'
import { SCRIPT_SCOPES, SCRIPTS_CLIENT_ID } from './sign-in.ts'

const USAGE = `npm run client:create -- --name "An app" --redirect-uri https://app.your-domain/callback [--public]

Adds an app that signs people in with Roster, and prints its client_id and its secret, only this once. Everything else
is in the API document under CreateClient, and is given as JSON.

  --name           what people see when they are asked for consent
  --redirect-uri   where people are sent back to; may be repeated
  --public         for an app that cannot keep a secret: a page without a server, a native app
  --first-party    one of your own: nobody is asked for consent
  --json FILE      all settings, as POST /v1/oauth_clients takes it
  --scripts        lets the scripts that act on this deployment sign in to it, and nothing else; may be repeated
  --dry-run        says whether it could be added, and adds nothing`

/** The client to create. Throws sentences that say what is wrong with it. */
function readInput(input: unknown): CreateClient {
  const { data, error } = CreateClient().safeParse(input)
  if (data) return data
  const sentences = error.issues.map(({ path, message }) => `${path.join('.') || 'It'}: ${message}`)
  throw new Error(sentences.join('\n'))
}

/** Uses the function of the API, so the history has an entry (actor: the system). */
const createClient = (env: object, input: CreateClient): Promise<ClientWithSecret> =>
  withResources(env, (resources) => makeClient(resources, bySystem, input))

type Let = 'added' | 'brought up to date' | 'there already'

/** The app that scripts sign in with: an app like any other, which those who manage apps may remove. */
export async function letScripts(resources: Resources, isDryRun = false): Promise<Let> {
  const scopes = [...SCRIPT_SCOPES]
  const { client } = await resources.db.readPrimary({ client: selectClient(SCRIPTS_CLIENT_ID) })
  if (client[0]?.scopes === JSON.stringify(scopes)) return 'there already'
  if (client[0]) {
    if (!isDryRun) await setScopes(resources, bySystem, SCRIPTS_CLIENT_ID, scopes)
    return 'brought up to date'
  }
  const input = readInput({
    name: 'Roster scripts',
    type: 'public',
    grants: [DEVICE_CODE],
    scopes,
    first_party: true,
  })
  if (!isDryRun) await makeClient(resources, bySystem, input, { fixedId: SCRIPTS_CLIENT_ID })
  return 'added'
}

/** Rethrows the error; one with several faults as sentences. */
function inSentences(cause: unknown): never {
  const errors = cause instanceof AppError ? (cause.errors ?? []) : []
  if (errors.length === 0) throw cause
  throw new Error(errors.map(({ pointer, detail }) => `${pointer.slice(1)}: ${detail}`).join('\n'), { cause })
}

async function main() {
  const options = {
    name: { type: 'string' },
    'redirect-uri': { type: 'string', multiple: true },
    public: { type: 'boolean' },
    'first-party': { type: 'boolean' },
    json: { type: 'string' },
    scripts: { type: 'boolean' },
  } as const
  const { values, isDryRun } = readArguments({ usage: USAGE, options, ofDeployment: true })
  const env = { EMAIL: 'perhaps', ...process.env }
  if (values.scripts) {
    const done = await withResources(env, (resources) => letScripts(resources, isDryRun))
    return console.log(`Roster scripts: ${isDryRun && done !== 'there already' ? `would be ${done}` : done}`)
  }
  const input = readInput(
    values.json
      ? JSON.parse(readFileSync(values.json, 'utf8'))
      : {
          name: values.name,
          type: values.public ? 'public' : 'confidential',
          redirect_uris: values['redirect-uri'] ?? [],
          first_party: values['first-party'] === true,
        },
  )
  if (isDryRun) return console.log(`${settingsOf(input).name}: would be added`)
  const { client_id, client_secret } = await createClient(env, input)
  console.log(`client_id      ${client_id}`)
  if (client_secret) console.log(`client_secret  ${client_secret}`)
}

if (import.meta.main) runCommand(() => main().catch(inSentences))
