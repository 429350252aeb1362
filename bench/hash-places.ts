import { hash } from './hash.ts'

/**
 * A hash in each place where it could run: in the isolate that answers reads, in a Worker of its own, in a Durable
 * Object. And a read that does nothing, to see how long it waits meanwhile.
 */
interface Env {
  HASHER: Fetcher
  HASHERS: DurableObjectNamespace
}

const answer = async () => new Response(await hash())

export class Hasher {
  fetch = answer
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    switch (new URL(request.url).pathname) {
      case '/worker':
        return env.HASHER.fetch('http://hasher/here')
      case '/object':
        return env.HASHERS.get(env.HASHERS.idFromName('one')).fetch('http://hasher/here')
      case '/here':
        return answer()
      default:
        return new Response('read')
    }
  },
}
