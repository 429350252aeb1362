import { resolve } from 'node:path'
import { CreateClient } from '../../src/oauth/clients/schemas.ts'
import { makeClient, requireClient } from '../../src/oauth/clients/service.ts'
import { bySystem } from '../../src/users/change.ts'
import { withResources } from '../create-admin.ts'
import { newSecret } from '../keys.ts'
import { portBeside } from './port.ts'
import type { WorkerOptions } from './worker.ts'

/* The second app of `npm run dev -- --demo`, to sign in to: examples/sign-in. */

const DIRECTORY = resolve(import.meta.dirname, '../../examples/sign-in')
const PORT = 8789

interface Known {
  port: number
  id: string
  secret: string
}

/**
 * Registers its client if there is none yet.
 *
 * @param kept what was kept about the client, if anything.
 * @param persist where its runtime keeps what it simulates.
 * @returns what to keep, its address, and how to start its Worker. The address is not `localhost`, whose cookies are
 *   Roster's.
 */
export async function prepareExample(
  settings: { ISSUER: string },
  kept: string | undefined,
  persist: string,
): Promise<{ kept: string; url: string; options: WorkerOptions }> {
  const port = await portBeside(PORT)
  const url = `http://127.0.0.1:${port}`
  const known = kept ? (JSON.parse(kept) as Known) : undefined
  const client = await withResources(settings, async (resources): Promise<Known> => {
    if (known?.port === port && (await requireClient(resources, known.id).catch(() => undefined)))
      return known
    const asked = {
      name: 'Tally',
      type: 'confidential',
      redirect_uris: [`${url}/callback`],
      post_logout_redirect_uris: [`${url}/`],
    }
    const { client_id, client_secret } = await makeClient(resources, bySystem, CreateClient().parse(asked))
    return { port, id: client_id, secret: client_secret! }
  })
  const vars = {
    ISSUER: settings.ISSUER,
    CLIENT_ID: client.id,
    CLIENT_SECRET: client.secret,
    COOKIE_SECRET: newSecret(),
  }
  const files = {
    config: resolve(DIRECTORY, 'wrangler.toml'),
    entrypoint: resolve(DIRECTORY, 'src/index.ts'),
  }
  return { kept: JSON.stringify(client), url, options: { ...files, port, persist, inspect: false, vars } }
}
