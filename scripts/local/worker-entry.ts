import type { Bindings } from '../../src/context.ts'
import roster from '../../src/index.ts'
import { cronName, isLocalHost, isLocalOrigin } from './local-only.ts'

// The Worker for `npm run dev`: Roster, behind a check that refuses pages from elsewhere. The check is in the Worker,
// not in front of it, because the runtime also listens on ports of its own, and each of them leads here.

interface LocalBindings extends Bindings {
  /** What the name of a trigger must begin with: see `cronName`. */
  LOCAL_CRON_KEY: string
  CORS_ORIGINS?: string
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

function isRefused(request: Request, env: LocalBindings): boolean {
  if (!isLocalHost(new URL(request.url).host)) return true
  const origin = request.headers.get('origin')
  if (origin === null) return false
  // Reading is for Roster's own rules (CORS) to allow or refuse.
  if (SAFE.has(request.method) && !request.headers.has('upgrade')) return false
  if (origin === 'null') return request.headers.get('sec-fetch-site') !== 'same-origin'
  return !isLocalOrigin(origin) && !(env.CORS_ORIGINS ?? '').split(/\s*,\s*/).includes(origin)
}

export default {
  fetch(request, env, context) {
    if (isRefused(request, env))
      return new Response('Only for pages and programs of this machine.', { status: 403 })
    return roster.fetch(request, env, context)
  },
  scheduled(event, env, context) {
    const prefix = cronName(env.LOCAL_CRON_KEY, '')
    if (!event.cron.startsWith(prefix)) throw new Error('A cron trigger without the key of this stack.')
    const { scheduledTime } = event
    return roster.scheduled(
      { scheduledTime, cron: event.cron.slice(prefix.length), noRetry: () => event.noRetry() },
      env,
      context,
    )
  },
} satisfies ExportedHandler<LocalBindings>

export * from '../../src/index.ts'
