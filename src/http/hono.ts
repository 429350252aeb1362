import { HonoBase } from 'hono/hono-base'
import { SmartRouter } from 'hono/router/smart-router'
import { TrieRouter } from 'hono/router/trie-router'
import type { BlankEnv, BlankSchema, Env, H, Schema } from 'hono/types'
import { getPath } from 'hono/utils/url'
import { refusingUndeclared } from './operation.ts'

const ID = /[\dA-F]{8}(-[\dA-F]{4}){3}-[\dA-F]{12}/gi

/**
 * Hono with a single router, built at the first request. Only the app's own is ever built, not those of mounted modules.
 * Hono's other routers cannot hold both `/users/me` and `/users/:id`.
 */
export class Hono<
  E extends Env = BlankEnv,
  S extends Schema = BlankSchema,
  P extends string = '/',
> extends HonoBase<E, S, P> {
  constructor() {
    // An id in capitals is the same id (RFC 9562 section 4), wherever it is looked up.
    super({ getPath: (request) => getPath(request).replace(ID, (id) => id.toLowerCase()) })
    this.router = new SmartRouter({ routers: [new TrieRouter()] })
    for (const method of ['get', 'post', 'patch', 'delete'] as const) {
      const add = this[method] as (path: string, ...handlers: H[]) => unknown
      const addStrict: typeof add = (path, ...handlers) => add(path, ...refusingUndeclared(method, handlers))
      this[method] = addStrict as (typeof this)[typeof method]
    }
  }
}
