import { resolve } from 'node:path'
import { newSecret } from '../../keys.ts'
import { portBeside } from '../port.ts'
import { startProcess, untilReady } from '../process.ts'
import { writePrivately } from '../start-worker.ts'
import type { ProviderOptions } from './main.ts'

const PORT = 8792
const ID = 'nordlys'

/**
 * A provider to sign in with, on this machine.
 *
 * @param domains the domains whose addresses it is trusted to prove.
 * @returns the settings that let people sign in to Roster with it, and how to start it, in its own process.
 */
export async function prepareProvider({ issuer, domains }: { issuer: string; domains: string[] }) {
  const port = await portBeside(PORT)
  const secret = { client_id: 'roster', client_secret: newSecret() }
  const url = `http://127.0.0.1:${port}`
  const options: ProviderOptions = {
    ...secret,
    port,
    redirect_uris: [`${issuer}/signin/with/${ID}/callback`],
  }
  return {
    url,
    settings: {
      IDENTITY_PROVIDERS: JSON.stringify([
        { id: ID, kind: 'oidc', name: 'Nordlys', issuer: url, ...secret, domains },
      ]),
      OUTBOUND_LOCAL: 'on',
      CLIENT_METADATA: 'on',
    },
    /** @param file where it finds its options. */
    start(file: string) {
      writePrivately(file, JSON.stringify(options))
      return startProcess(process.execPath, [resolve(import.meta.dirname, 'main.ts'), file])
    },
    isUp: async (started: ReturnType<typeof startProcess>) =>
      untilReady(started, async () => {
        const { status } = await fetch(`${url}/.well-known/openid-configuration`)
        if (status !== 200) throw new Error(`it answers ${status}`)
      }),
  }
}
