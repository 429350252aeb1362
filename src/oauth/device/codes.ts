import { randomInt } from 'node:crypto'
import { eq } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { ACCOUNT } from '../../access/permissions.ts'
import type { Config } from '../../config/main.ts'
import type { Resources } from '../../context.ts'
import { openSealed, seal } from '../../crypto/sealed.ts'
import { build, rowExists } from '../../database/statements.ts'
import { timeOfId } from '../../values/ids.ts'
import { type GivenClient, proveClient } from '../clients/authenticate.ts'
import { selectClient } from '../clients/service.ts'
import { invalidTarget, oauthError } from '../errors.ts'
import { DEVICE_CODE, DEVICE_CODE_MS, oauthDeviceCodes } from '../models.ts'
import { selectResource, targetOf, toResource } from '../resources.ts'
import { scopesToAsk } from '../scopes.ts'
import { assertMayUseGrant } from '../tokens/answer.ts'

/** Device authorization (RFC 8628): a code for the device, and one that its user types at /device. */

const POLL_SECONDS = 5
/** No vowels, so no words (RFC 8628 section 6.1); 8 of them are 25,600,000,000 codes. */
const LETTERS = 'BCDFGHJKLMNPQRSTVWXZ'
const CODE_LENGTH = 8
const TRIES = 3

export type DeviceRow = typeof oauthDeviceCodes.$inferSelect

const newUserCode = () =>
  Array.from({ length: CODE_LENGTH }, () => LETTERS[randomInt(LETTERS.length)]).join('')

/** The code as it is shown: `WDJB-MJHT`. */
const shown = (userCode: string) => `${userCode.slice(0, 4)}-${userCode.slice(4)}`

/** The typed code as it is stored; undefined if it cannot be a code. */
export function readUserCode(typed: string): string | undefined {
  const letters = typed.toUpperCase().replace(/[\s\p{Pd}]/gu, '')
  return letters.length === CODE_LENGTH && [...letters].every((one) => LETTERS.includes(one))
    ? letters
    : undefined
}

/** The code contains the row's id, sealed: a forged one costs no trip. */
const makeDeviceCode = ({ keys }: Pick<Config, 'keys'>, id: string) => seal(keys.oauth_device, `dc.${id}`)

export const openDeviceCode = ({ keys }: Pick<Config, 'keys'>, given: string): string | undefined =>
  /^dc\.([0-9a-f-]{36})$/.exec(openSealed(keys.oauth_device, given) ?? '')?.[1]

/** @param now epoch ms. */
export const isDeviceOver = ({ id }: Pick<DeviceRow, 'id'>, now: number) =>
  now >= timeOfId(id) + DEVICE_CODE_MS

export interface DeviceAuthorization {
  device_code: string
  user_code: string
  verification_uri: string
  expires_in: number
  interval: number
}

/**
 * Begins the flow. There is no URL that contains the code (`verification_uri_complete`): somebody who is sent
 * one would not look at what they approve.
 *
 * @throws 401 `invalid_client`; 400 as RFC 8628 section 3.2 and RFC 6749 section 5.2 say.
 */
export async function beginDevice(
  resources: Resources,
  given: GivenClient,
  fields: Record<string, string>,
): Promise<DeviceAuthorization> {
  const { db, config, origin } = resources
  const target = targetOf(config, fields.resource)
  const read = await db.read({ client: selectClient(given.id), resource: selectResource(target) })
  const client = await proveClient(resources, given, read.client[0])
  assertMayUseGrant(client, DEVICE_CODE)
  const resource = toResource(read.resource[0])
  if (target !== null && !resource) throw invalidTarget()
  const scopes = scopesToAsk(client, fields.scope, resource).filter((scope) => scope !== ACCOUNT)
  if (scopes.length === 0) throw oauthError('invalid_scope', 'This app may ask for none of these scopes.')
  const id = uuidv7()
  for (let tries = 0; tries < TRIES; tries++) {
    const userCode = newUserCode()
    const row = {
      id,
      user_code: userCode,
      client_id: client.id,
      scope: scopes.join(' '),
      resource: target,
      ip: origin.ip,
      user_agent: origin.userAgent,
      country: origin.country,
    }
    const { made } = await db.writeBatch(
      {
        device: build.insert(oauthDeviceCodes).values(row).onConflictDoNothing(),
        made: build.select().from(oauthDeviceCodes).where(eq(oauthDeviceCodes.id, id)),
      },
      rowExists(oauthDeviceCodes, id),
    )
    if (made[0])
      return {
        device_code: makeDeviceCode(config, id),
        user_code: shown(userCode),
        verification_uri: `${config.ISSUER}/device`,
        expires_in: DEVICE_CODE_MS / 1000,
        interval: POLL_SECONDS,
      }
  }
  throw new Error('every code that was tried is taken')
}
