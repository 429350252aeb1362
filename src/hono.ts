import { HonoBase } from 'hono/hono-base'
import { TrieRouter } from 'hono/router/trie-router'
import type { BlankEnv, BlankSchema, Env, Schema } from 'hono/types'

/**
 * Hono with one router. The others that it brings along cannot hold both `/users/me` and `/users/:id`, which it
 * would find out in the first request.
 */
export class Hono<
  E extends Env = BlankEnv,
  S extends Schema = BlankSchema,
  P extends string = '/',
> extends HonoBase<E, S, P> {
  constructor() {
    super()
    this.router = new TrieRouter()
  }
}
