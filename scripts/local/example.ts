import { resolve } from 'node:path'
import type { Resources } from '../../src/context.ts'
import { CreateClient } from '../../src/oauth/clients/schemas.ts'
import { makeClient, requireClient } from '../../src/oauth/clients/service.ts'
import { bySystem } from '../../src/users/change.ts'
import type { WorkerOptions } from './worker.ts'

/* The second app of `npm run dev -- --demo`, to sign in to: examples/sign-in. */

const DIRECTORY = resolve(import.meta.dirname, '../../examples/sign-in')
export const EXAMPLE_PORT = 8789

/** Where it is; not at `localhost`, whose cookies are Roster's. */
export const exampleUrl = (port: number) => `http://127.0.0.1:${port}`

interface Known {
  port: number
  id: string
  secret: string
}

/** Its client, made where there is none yet; `kept` is what was kept of it, as text. */
export async function keepExample(
  resources: Resources,
  kept: string | undefined,
  port: number,
): Promise<Known> {
  const known = kept ? (JSON.parse(kept) as Known) : undefined
  if (known?.port === port && (await requireClient(resources, known.id).catch(() => undefined))) return known
  const asked = {
    name: 'Tally',
    type: 'confidential',
    redirect_uris: [`${exampleUrl(port)}/callback`],
    post_logout_redirect_uris: [`${exampleUrl(port)}/`],
  }
  const { client_id, client_secret } = await makeClient(resources, bySystem, CreateClient().parse(asked))
  return { port, id: client_id, secret: client_secret! }
}

/** How its Worker is started. */
export const exampleWorker = (
  { port, id, secret }: Known,
  { issuer, cookieSecret, persist }: { issuer: string; cookieSecret: string; persist: string },
): WorkerOptions => ({
  config: resolve(DIRECTORY, 'wrangler.toml'),
  entrypoint: resolve(DIRECTORY, 'src/index.ts'),
  port,
  persist,
  inspect: false,
  vars: { ISSUER: issuer, CLIENT_ID: id, CLIENT_SECRET: secret, COOKIE_SECRET: cookieSecret },
})
