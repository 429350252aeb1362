import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { openApi } from '../support/api.ts'
import { APPLE_KEY, TENANT } from '../support/identities.ts'

const secret = { client_id: 'roster-at-theirs', client_secret: 's3cr3t-of-theirs' }
const oidc = { id: 'corp', kind: 'oidc', issuer: 'https://id.fjord.example', ...secret }
const google = { id: 'google', kind: 'google', ...secret }
const github = { id: 'github', kind: 'github', ...secret }
const microsoft = { id: 'ms', kind: 'microsoft', tenants: [TENANT], ...secret }
const apple = {
  ...{ id: 'apple', kind: 'apple', client_id: 'test.roster' },
  ...{ team_id: 'TEAM', key_id: 'KEY', private_key: APPLE_KEY },
}
const pem = (key: ReturnType<typeof generateKeyPairSync>['privateKey']) =>
  key.export({ type: 'pkcs8', format: 'pem' }) as string
const rsaKey = pem(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
const otherCurve = pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey)

const withList = (providers: unknown, more: object = {}) =>
  openApi({
    IDENTITY_PROVIDERS: typeof providers === 'string' ? providers : JSON.stringify(providers),
    ...more,
  })
const LOCAL = { ISSUER: 'http://localhost:8787', PASSWORD_HASHES: 'full', OUTBOUND_LOCAL: 'on' }

describe('SC1: a list of providers that could not work, or that would let in the wrong people', () => {
  const unfit: [string, unknown, object?][] = [
    ['is not JSON', ''],
    ['is not JSON', '[{'],
    ['is not a list', 'null'],
    ['is not a list', `${'{"a":'.repeat(13_000)}1${'}'.repeat(13_000)}`],
    ['has a bad entry', `${'['.repeat(32_768)}${']'.repeat(32_768)}`],
    ['has a bad entry', [null]],
    ['has an id twice', Array.from({ length: 500 }, () => oidc)],
    ['has an id twice', [oidc, { ...google, id: 'corp' }]],
    ...['__proto__', 'Google', 'a/b', 'google\n', '', 'a'.repeat(33)].map((id): [string, unknown] => [
      'has a bad id',
      [{ ...oidc, id }],
    ]),
    ['has a member that is not known', `[{"__proto__":{},${JSON.stringify(oidc).slice(1)}]`],
    ['has a member that is not known', [{ ...oidc, secret: 'x' }]],
    ...['Bell\u0007', 'Right\u202eleft', ' ', '-', 'a'.repeat(61), 5].map((name): [string, unknown] => [
      'has a bad name',
      [{ ...oidc, name }],
    ]),
    ['has no issuer', [{ ...oidc, issuer: undefined }]],
    ...[
      ' https://id.fjord.example',
      'https://id.fjo\nrd.example',
      'https:id.fjord.example',
      'https:\\\\id.fjord.example',
      'ftp://localhost/corp',
      'javascript:alert(1)',
    ].map((issuer): [string, unknown] => ['has an issuer that is not a URL', [{ ...oidc, issuer }]]),
    ...['https://ada:pw@id.fjord.example', 'https://id.fjord.example?x', 'https://id.fjord.example#x'].map(
      (issuer): [string, unknown] => [
        'has an issuer with more than an origin and a path',
        [{ ...oidc, issuer }],
      ],
    ),
    ['has an issuer that is not https://', [{ ...oidc, issuer: 'http://id.fjord.example' }]],
    ['has an issuer that has a port other than 443', [{ ...oidc, issuer: 'https://id.fjord.example:8443' }]],
    ...['https://10.0.0.1', 'https://[::ffff:127.0.0.1]'].map((issuer): [string, unknown] => [
      'has an issuer that has an IP address where a name should be',
      [{ ...oidc, issuer }],
    ]),
    ...['https://id.corp', 'https://keycloak', 'https://id.fjord.example.'].map(
      (issuer): [string, unknown] => [
        'has an issuer that is a name that only a private network knows',
        [{ ...oidc, issuer }],
      ],
    ),
    ["has an issuer that is Roster's own", [{ ...oidc, issuer: 'https://roster.test/corp' }]],
    ["has an issuer that is Roster's own", [{ ...oidc, issuer: 'http://localhost:8787' }], LOCAL],
    ['has one on this machine', [{ ...oidc, issuer: 'http://localhost:9000' }]],
    ['has an issuer, and Google has only its own', [{ ...google, issuer: 'https://id.fjord.example' }]],
    ['has an issuer, and Apple has only its own', [{ ...apple, issuer: 'https://id.fjord.example' }]],
    ['has an issuer that ends in a slash', [{ ...github, issuer: 'https://github.com/' }]],
    ['has a bad client_id', [{ ...oidc, client_id: '' }]],
    ['has a bad client_secret', [{ ...oidc, client_secret: null }]],
    ['has no client_secret', [{ ...google, client_secret: undefined }]],
    ['has a client_secret, and Apple’s', [{ ...apple, client_secret: 'x' }]],
    ['has no team_id, key_id or private_key', [{ ...apple, key_id: undefined }]],
    ['has a bad team_id or key_id', [{ ...apple, team_id: '' }]],
    ['has a team_id, key_id or private_key, which', [{ ...oidc, key_id: 'KEY' }]],
    ...[
      rsaKey,
      otherCurve,
      `\n${APPLE_KEY}`,
      APPLE_KEY.replaceAll('\n', '\\n'),
      `${APPLE_KEY.slice(0, 80)}\n-----END PRIVATE KEY-----`,
    ].map((private_key): [string, unknown] => ['has a private_key that is no', [{ ...apple, private_key }]]),
    ['has scopes without openid', [{ ...oidc, scopes: [] }]],
    ['has scopes without openid', [{ ...microsoft, scopes: ['email'] }]],
    ['has scopes without user:email', [{ ...github, scopes: ['read:user'] }]],
    ['has a bad scopes.0', [{ ...oidc, scopes: ['openid email'] }]],
    ['has no tenants', [{ ...microsoft, tenants: ['common'] }]],
    ['has no tenants', [{ ...microsoft, tenants: [] }]],
    ['has tenants, which', [{ ...oidc, tenants: [TENANT] }]],
    ['has domains, and Microsoft', [{ ...microsoft, domains: ['fjord.example'] }]],
    ['has a domain that can match no address', [{ ...oidc, domains: ['*.fjord.example'] }]],
    ['has a bad domains', [{ ...oidc, domains: 'fjord.example' }]],
    ['has a bad trusted_for_linking', [{ ...oidc, trusted_for_linking: 'true' }]],
    ['has trusted_for_linking without', [{ ...oidc, trusted_for_linking: true }]],
    ['has trust_amr, and GitHub', [{ ...github, trust_amr: true }]],
    ['has a bad signup', [{ ...oidc, signup: false }]],
    ['has the same value as IDENTITY_PROVIDERS', [oidc, { ...oidc, id: 'other' }]],
    ['has the same value as AUDIENCE', [{ ...oidc, client_secret: 'roster' }]],
  ]

  test.each(unfit)(
    '%s: is refused with a sentence that contains none of its values',
    (wrong, providers, more) => {
      const entries = Array.isArray(providers) ? providers : []
      try {
        withList(providers, more).config()
        expect.unreachable()
      } catch (error) {
        const { names, sentences } = error as { names: string[]; sentences: string[] }
        expect([names, sentences]).toEqual([['IDENTITY_PROVIDERS'], [expect.stringContaining(wrong)]])
        expect(sentences[0]).toMatch(/^IDENTITY_PROVIDERS .+\. Write a JSON list of providers as docs\//)
        for (const value of entries.flatMap((entry) => [
          entry?.issuer,
          entry?.client_secret,
          entry?.private_key,
        ]))
          if (value && value !== 'x' && value !== 'roster') expect(sentences[0]).not.toContain(value)
      }
    },
  )

  test('is none of these', () => {
    const fine: [unknown, object?][] = [
      [[]],
      [[oidc, { ...google, client_secret: 'another-one' }, apple]],
      [[{ ...oidc, client_secret: undefined }]],
      [[{ ...oidc, issuer: 'https://fjord.example:443/' }]],
      [[{ ...oidc, id: 'constructor' }]],
      [[{ ...github, issuer: 'https://git.fjord.example', scopes: ['user'] }]],
      [[{ ...microsoft, issuer: 'https://login.microsoftonline.us' }]],
      [[{ ...apple, scopes: ['email'] }]],
      [[{ ...google, issuer: 'http://localhost:9000' }], LOCAL],
    ]
    for (const [providers, more] of fine)
      expect(withList(providers, more).config().IDENTITY_PROVIDERS).toHaveLength((providers as []).length)
  })
})

test('SC1: an id like the names of an object’s own members is an ordinary id', async () => {
  const api = withList([
    { ...oidc, id: 'constructor' },
    { ...oidc, client_secret: 'b', id: 'link' },
  ])
  const { body } = await api.send('GET', '/v1/auth/identity_providers')
  expect(body).toEqual({
    data: [
      { id: 'constructor', name: 'constructor' },
      { id: 'link', name: 'link' },
    ],
  })
  const page = await api.send('GET', '/signin')
  for (const id of ['constructor', 'link']) expect(page.text).toContain(`/signin/with/${id}?`)
  for (const id of ['toString', '__proto__', 'join'])
    expect((await api.send('GET', `/signin/with/${id}`)).status).toBe(404)
})
