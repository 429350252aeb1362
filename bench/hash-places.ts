import { randomBytes, scrypt } from 'node:crypto'

/**
 * A hash in each place where it could run: in the isolate that answers reads, in a Worker of its own, in a Durable
 * Object. And a read that does nothing, to see how long it waits meanwhile.
 */
interface Env {
  HASHER: Fetcher
  HASHERS: DurableObjectNamespace
}

/** The parameters of src/auth/passwords.ts. */
const hash = () =>
  new Promise<Response>((resolve, reject) =>
    scrypt(
      'seven brown foxes read',
      randomBytes(16),
      32,
      { N: 2 ** 15, r: 8, p: 3, maxmem: 2 ** 26 },
      (error) => (error ? reject(error) : resolve(new Response())),
    ),
  )

export class Hasher {
  fetch = hash
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    switch (new URL(request.url).pathname) {
      case '/worker':
        return env.HASHER.fetch('http://hasher/here')
      case '/object':
        return env.HASHERS.get(env.HASHERS.idFromName('one')).fetch('http://hasher/here')
      case '/here':
        return hash()
      default:
        return new Response('read')
    }
  },
}
