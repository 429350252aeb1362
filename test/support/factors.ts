import { generateHOTP } from '@oslojs/otp'
import { v7 as uuidv7 } from 'uuid'
import { expect } from 'vitest'
import { hashRecoveryCode, makeRecoveryCodes } from '../../src/factors/recovery-codes.ts'
import { makeSeed, sealSeed } from '../../src/factors/totp.ts'
import { userHandleOf } from '../../src/passkeys/ceremonies.ts'
import type { Api } from './api.ts'
import { softwarePasskey } from './authenticator.ts'
import { codeIn } from './mails.ts'

const STEP_MS = 30_000

/** The code in an authenticator app now, or this many steps of 30 seconds from now. */
export const codeOf = (seed: Uint8Array, offset = 0) =>
  generateHOTP(seed, BigInt(Math.floor(Date.now() / STEP_MS) + offset), 6)

/** A code that is wrong at all steps around now. */
export const wrongCodeOf = (seed: Uint8Array) => {
  const near = [-2, -1, 0, 1, 2].map((offset) => codeOf(seed, offset))
  return ['000000', '111111', '222222', '333333', '444444', '555555'].find((code) => !near.includes(code))!
}

/** Waits for the next step if this one is nearly over, so that what a test does next happens within one step. */
export async function withinOneStep(): Promise<void> {
  const left = STEP_MS - (Date.now() % STEP_MS)
  if (left < 8000) await new Promise((resolve) => setTimeout(resolve, left + 50))
}

/** Gives somebody an authenticator app and ten recovery codes, not through the API. */
export async function addTotp(api: Api, { id }: { id: string }) {
  const seed = makeSeed()
  const { keyId, text } = await sealSeed(api.config(), id, seed)
  await api.sql(
    'INSERT INTO factors (user_id, seed, key_id, created_at, confirmed_at) VALUES (?, ?, ?, ?4, ?4)',
    [id, text, keyId, Date.now()],
  )
  return { seed, recoveryCodes: await addRecoveryCodes(api, id) }
}

export async function addRecoveryCodes(api: Api, id: string): Promise<string[]> {
  const codes = makeRecoveryCodes()
  for (const code of codes)
    await api.sql('INSERT INTO recovery_codes (user_id, hash, created_at) VALUES (?, ?, ?)', [
      id,
      hashRecoveryCode(id, code),
      Date.now(),
    ])
  return codes
}

/** The challenge for somebody with a second factor, after their correct password. */
export async function challengeOf(api: Api, { email, password }: { email: string; password: string }) {
  const answer = await api.send<{ challenge: string; methods: string[]; expires_in: number }>(
    'POST',
    '/v1/auth/login',
    { body: { email, password } },
  )
  expect([answer.status, (answer.body as { code?: string }).code]).toEqual([403, 'second_factor_required'])
  return answer.body
}

/** The mailed code that adding a first factor needs, with the token of whoever asked for it. */
export async function mailedCode(api: Api, { email, token }: { email: string; token: string }) {
  const asked = await api.send('POST', '/v1/auth/factors/mail_code', { token })
  expect(asked.status, asked.text).toBe(202)
  const [mail] = await api.mailsTo(email)
  const mail_code = codeIn(mail!)
  return { request_token: asked.body.request_token as string, mail_code }
}

/** Gives somebody a passkey, not through the API. */
export async function addPasskey(api: Api, { id }: { id: string }) {
  const { ISSUER, WEBAUTHN_RP_ID } = api.config()
  const passkey = await softwarePasskey(ISSUER)
  passkey.state.userHandle = userHandleOf(id)
  await api.sql(
    `INSERT INTO passkeys (id, user_id, credential_id, rp_id, public_key, sign_count, transports, aaguid, may_be_synced,
      is_synced, name, created_at) VALUES (?, ?, ?, ?, ?, 0, '[]', '', 1, 1, 'Laptop', ?)`,
    [uuidv7(), id, passkey.id, WEBAUTHN_RP_ID, passkey.publicJwk, Date.now()],
  )
  return passkey
}

/** A passkey's answer to the options from a route. */
export async function answerOf(
  api: Api,
  passkey: Awaited<ReturnType<typeof softwarePasskey>>,
  path: string,
  options: { token?: string; body?: object } = {},
) {
  const { status, body, text } = await api.send<{ challenge_id: string; options: never }>(
    'POST',
    path,
    options,
  )
  expect(status, text).toBe(200)
  return { challenge_id: body.challenge_id, credential: await passkey.get(body.options) }
}
