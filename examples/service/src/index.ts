import { createVerifier, protect, type Verified } from '@roster/client/verify'
import { Hono } from 'hono'

/** A service that accepts Roster's access tokens, and verifies them without asking anybody. See docs/guides/service.md. */

interface Env {
  ISSUER: string
  AUDIENCE: string
}

/** Kept for all requests of an isolate: it caches Roster's public keys. */
let verifier: ReturnType<typeof createVerifier> | undefined

export default new Hono<{ Bindings: Env; Variables: { token: Verified } }>()
  .get('/', (c) => c.text(`Bring an access token of ${c.env.ISSUER} to /whoami.\n`))
  .use('/whoami', (c, next) => {
    verifier ??= createVerifier({ issuer: c.env.ISSUER, audience: c.env.AUDIENCE })
    return protect(verifier)(c, next)
  })
  .get('/whoami', (c) => {
    const { sub, clientId, role, scopes } = c.get('token')
    return c.json({ sub, client: clientId, role, scopes })
  })
