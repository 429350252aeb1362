import { beforeAll, expect, test } from 'vitest'
import { type Answer, type Api, openApi } from '../support/api.ts'
import {
  addPasskey,
  addRecoveryCodes,
  addTotp,
  answerOf,
  challengeOf,
  codeOf,
  withinOneStep,
} from '../support/factors.ts'
import { rounds } from '../support/rounds.ts'
import { freshUpstreams } from '../support/upstreams.ts'

/** Whatever may be used once is tried twenty times at the same moment. */

const ROUNDS = rounds(1, 50)
const AT_ONCE = 20
const TRIES_OF_A_CHALLENGE = 5

let api: Api
beforeAll(async () => {
  api = openApi({ ...(await freshUpstreams()).bindings, ISSUER: 'https://roster.test' })
})

const race = (name: string, round: () => Promise<void>) =>
  test(name, async () => {
    for (let index = 0; index < ROUNDS; index++) await round()
  })
const verified = (given = {}) => api.person({ email_verified_at: 1, ...given })
const times = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, i) => make(i))
/** How many succeeded; none failed on our side. */
function successes(answers: Answer<unknown>[]): number {
  expect(answers.filter(({ status }) => status >= 500)).toEqual([])
  return answers.filter(({ status }) => status === 200).length
}
const answerAll = (bodies: object[]) =>
  Promise.all(bodies.map((body) => api.send('POST', '/v1/auth/login/second_factor', { body })))
const sessionsOf = async ({ id }: { id: string }) =>
  (await api.sql('SELECT id FROM sessions WHERE user_id = ?', [id])).length

/** As many challenges as twenty attempts need. */
async function challengesOf(ada: { email: string; password: string }) {
  const challenges: string[] = []
  for (let i = 0; i < AT_ONCE / TRIES_OF_A_CHALLENGE; i++)
    challenges.push((await challengeOf(api, ada)).challenge)
  return (index: number) => challenges[index % challenges.length]!
}

race('MF2: of twenty with one code one gets in', async () => {
  await withinOneStep()
  const ada = await verified()
  const { seed } = await addTotp(api, ada)
  const challenge = await challengesOf(ada)
  const code = codeOf(seed)
  expect(successes(await answerAll(times(AT_ONCE, (i) => ({ challenge: challenge(i), code }))))).toBe(1)
  expect(await sessionsOf(ada)).toBe(1)
})

race('MF5: of twenty with one recovery code one gets in', async () => {
  const ada = await verified()
  const { recoveryCodes } = await addTotp(api, ada)
  const challenge = await challengesOf(ada)
  const [recovery_code] = recoveryCodes
  const bodies = times(AT_ONCE, (i) => ({ challenge: challenge(i), recovery_code }))
  expect(successes(await answerAll(bodies))).toBe(1)
  expect(await api.sql('SELECT count(*) AS n FROM recovery_codes WHERE user_id = ?', [ada.id])).toEqual([
    { n: 9 },
  ])
})

race('MF4: of twenty with one challenge, each with a code of its own, one gets in', async () => {
  const ada = await verified()
  const { recoveryCodes } = await addTotp(api, ada)
  const codes = [...recoveryCodes, ...(await addRecoveryCodes(api, ada.id))]
  const { challenge } = await challengeOf(api, ada)
  const bodies = codes.map((recovery_code) => ({ challenge, recovery_code }))
  expect(successes(await answerAll(bodies))).toBe(1)
  expect(await api.sql('SELECT count(*) AS n FROM recovery_codes WHERE user_id = ?', [ada.id])).toEqual([
    { n: 19 },
  ])
})

race('PK1: of twenty with one answer of a passkey one gets in', async () => {
  const ada = await verified()
  const passkey = await addPasskey(api, ada)
  const body = await answerOf(api, passkey, '/v1/auth/login/passkey/options')
  const answers = await Promise.all(
    times(AT_ONCE, () => api.send('POST', '/v1/auth/login/passkey', { body })),
  )
  expect([successes(answers), await sessionsOf(ada)]).toEqual([1, 1])
})

race(
  'PK4: of twenty passkeys that are removed at once one stays, where there is no other way in',
  async () => {
    const ada = await verified({ password_hash: null })
    await Promise.all(times(AT_ONCE, () => addPasskey(api, ada)))
    const { token } = await api.signIn(ada)
    const keys = await api.sql('SELECT id FROM passkeys WHERE user_id = ?', [ada.id])
    const answers = await Promise.all(
      keys.map(({ id }) => api.send('DELETE', `/v1/auth/passkeys/${id}`, { token })),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([...times(AT_ONCE - 1, () => 204), 409])
    expect(await api.sql('SELECT count(*) AS n FROM passkeys WHERE user_id = ?', [ada.id])).toEqual([
      { n: 1 },
    ])
  },
)
