import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { ADMIN, startStack } from '../test/support/stack.ts'
import { type App, askBoth } from './clients/oracle.ts'
import { readArguments, runCommand } from './command.ts'

const USAGE = `npm run test:clients

Starts Roster as npm run dev does, on ports of its own, and signs in to it with Python's Authlib and requests-oauthlib
(Debian: apt-get install python3-authlib python3-requests-oauthlib), where they are installed. Then it asks Roster and
oidc-provider the same wrong things, and says which answers differ and should not.

  --dry-run   says what would be asked`

const REDIRECT = 'https://app.example/callback'
const APP = { name: 'Wiki', type: 'confidential', redirect_uris: [REDIRECT] }
const SCOPES = ['openid', 'profile', 'email', 'offline_access']

async function main() {
  const { isDryRun } = readArguments({ usage: USAGE, options: {} })
  if (isDryRun)
    return console.log('Would ask with Authlib and requests-oauthlib, and compare with oidc-provider.')
  const stack = await startStack()
  try {
    const issuer = stack.url.replace('127.0.0.1', 'localhost')
    const call = async <T>(path: string, body: object, token?: string): Promise<T> => {
      const headers = {
        'content-type': 'application/json',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      }
      const answer = await fetch(`${stack.url}${path}`, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
      })
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
      return (await answer.json()) as T
    }
    const { access_token } = await call<{ access_token: string }>('/v1/auth/login', ADMIN)
    const add = async (given: object): Promise<App> => {
      const made = await call<App>('/v1/oauth_clients', { ...APP, ...given }, access_token)
      return { client_id: made.client_id, client_secret: made.client_secret }
    }
    const given = {
      issuer,
      redirect: REDIRECT,
      ...ADMIN,
      pkce: await add({ scopes: SCOPES }),
      plain: await add({ scopes: SCOPES, require_pkce: false }),
    }
    signInByPython(given)
    const service = await add({ grants: ['client_credentials'], redirect_uris: [], scopes: ['users:read'] })
    console.log(
      `ok  oidc-provider: ${await askBoth(issuer, { app: given.pkce, service, redirect: REDIRECT })}`,
    )
  } finally {
    await stack.close()
  }
}

function signInByPython(given: object) {
  const script = resolve(import.meta.dirname, 'clients/clients.py')
  const env = { ...process.env, GIVEN: JSON.stringify(given) }
  // The Python that Debian's packages are installed for.
  const python = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3'
  const { status, error } = spawnSync(python, [script], { env, stdio: 'inherit' })
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT')
    return console.log('skipped  Authlib, requests-oauthlib: there is no python3 here.')
  if (status !== 0) throw new Error('A Python client did not get through.')
}

if (import.meta.main) runCommand(main)
