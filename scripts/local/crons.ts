import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { cronName } from './local-only.ts'

/** The cron expressions in wrangler.toml: every minute, or every few minutes. */
const CRONS: string[] = JSON.parse(
  /^crons = (.*)$/m.exec(readFileSync(resolve(import.meta.dirname, '../../wrangler.toml'), 'utf8'))![1]!,
)

/** `wrangler dev` fires no cron trigger by itself. */
export function startCrons(api: string, key: string) {
  for (const cron of CRONS) {
    const minutes = Number(/^\*\/(\d+) /.exec(cron)?.[1] ?? 1)
    const name = encodeURIComponent(cronName(key, cron))
    const fire = () => fetch(`${api}/cdn-cgi/handler/scheduled?cron=${name}`).catch(() => {})
    setInterval(fire, minutes * 60_000).unref()
  }
}
