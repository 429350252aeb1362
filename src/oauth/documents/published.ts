import type { Resources } from '../../context.ts'
import { digestOf } from '../../crypto/digest.ts'
import { decryptJson, encryptJson } from '../../crypto/encryption.ts'
import { callOut } from '../../http/outbound.ts'
import { Refusal } from '../../http/problem.ts'
import { assertMayFetch } from '../../throttle/limits.ts'
import { BoundedMap } from '../../values/bounded-map.ts'
import { HOUR_MS } from '../../values/durations.ts'
import { badAuthorizeRequest } from '../errors.ts'
import { faultOfId, readDocument } from './document.ts'

interface Published {
  document: string
  /** Epoch ms. */
  readAt: number
}

/** Per isolate. Plain values, so they may outlive a request. */
const known = new BoundedMap<string, Published>(100)

/**
 * An app's document, from this isolate, from Redis, or from its own address; cached for an hour. In Redis it is
 * sealed, as anybody who can write there could forge it otherwise. A failed read is not cached.
 *
 * @param userId the signed-in user, who is rate-limited: nobody else can make us call other servers.
 * @throws 400 `bad_authorize_request`; 429.
 */
export async function readClientDocument(resources: Resources, userId: string, id: string): Promise<string> {
  const { config, redis, now } = resources
  const fault = faultOfId(id, config)
  if (fault) throw badAuthorizeRequest(`client_id as a URL: ${fault}`)
  const name = `app:${digestOf(id)}`
  const isFresh = (one: Published | undefined): one is Published =>
    one !== undefined && Math.abs(now - one.readAt) < HOUR_MS
  const here = known.get(name)
  if (isFresh(here)) return here.document
  const [sealed] = (await redis.mget([name])) ?? []
  const near = sealed ? await decryptJson<Published>(config.keys.client_metadata, sealed, name) : undefined
  if (isFresh(near)) {
    known.set(name, near)
    return near.document
  }
  await assertMayFetch(resources, userId)
  const published = { document: await fetchDocument(resources, id), readAt: now }
  known.set(name, published)
  resources.afterwards(
    encryptJson(config.keys.client_metadata, published, name).then((text) => redis.put(name, text, HOUR_MS)),
  )
  return published.document
}

async function fetchDocument({ config }: Resources, id: string): Promise<string> {
  try {
    const { status, text, contentType } = await callOut('client_metadata', new URL(id), {
      headers: { accept: 'application/json' },
    }).catch((cause) => {
      throw new Refusal('document_unreachable', { cause })
    })
    if (status !== 200) throw new Refusal('document_status')
    // An HTML page is not a document, whatever it contains.
    if (!/^application\/([\w.+-]+\+)?json\b/i.test(contentType ?? '')) throw new Refusal('document_form')
    return readDocument(id, text, config)
  } catch (cause) {
    throw badAuthorizeRequest('What the app says of itself cannot be read, or is not valid.', cause)
  }
}
