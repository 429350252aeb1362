import { resolve } from 'node:path'
import { build } from '../../client/build.ts'
import { portBeside } from './port.ts'
import { startProcess } from './process.ts'
import type { WorkerOptions } from './worker.ts'

/* The other apps of `npm run dev -- --examples`: examples/react and examples/service. */

const EXAMPLES = resolve(import.meta.dirname, '../../examples')
const VITE = resolve(import.meta.dirname, '../../node_modules/vite/bin/vite.js')

export interface Places {
  react: string
  service: string
}

/** Their addresses. A cookie of `localhost` is sent to all its ports, so the app is on Roster's site. */
export async function placeExamples(): Promise<Places> {
  const [react, service] = await Promise.all([portBeside(8790), portBeside(8791)])
  return { react: `http://localhost:${react}`, service: `http://127.0.0.1:${service}` }
}

export const rowsOf = ({ react, service }: Places): string[][] => [
  ['React', react, 'an app with its users signed in by cookie: examples/react'],
  ['Service', service, 'takes access tokens: examples/service'],
]

const portOf = (url: string) => Number(new URL(url).port)

/** They import the client as it is published. */
export function startReact({ react }: Places, issuer: string) {
  build(true)
  return startProcess(
    process.execPath,
    [VITE, resolve(EXAMPLES, 'react'), '--port', String(portOf(react)), '--strictPort'],
    { VITE_ROSTER_URL: issuer },
  )
}

export function serviceWorker(
  { service }: Places,
  { ISSUER, AUDIENCE = 'roster' }: { ISSUER: string; AUDIENCE?: string },
  persist: string,
): WorkerOptions {
  return {
    config: resolve(EXAMPLES, 'service/wrangler.toml'),
    entrypoint: resolve(EXAMPLES, 'service/src/index.ts'),
    port: portOf(service),
    persist,
    inspect: false,
    vars: { ISSUER, AUDIENCE },
  }
}
