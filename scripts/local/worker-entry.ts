import type { Bindings } from '../../src/context.ts'
import roster from '../../src/index.ts'
import { cronName, isLocalHost, isLocalOrigin } from './local-only.ts'

// The Worker as `npm run dev` serves it: Roster, behind what a page from elsewhere is refused by. It stands here, not
// in front, as the runtime listens on ports of its own as well, and each of them leads here.

interface LocalBindings extends Bindings {
  /** What the name of a trigger has to begin with: see `cronName`. */
  LOCAL_CRON_KEY: string
  CORS_ORIGINS?: string
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

function isRefused(request: Request, env: LocalBindings): boolean {
  if (!isLocalHost(new URL(request.url).host)) return true
  const origin = request.headers.get('origin')
  if (origin === null) return false
  // To look is for Roster's own rules (CORS) to allow or not.
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
