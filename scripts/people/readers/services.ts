import { encodeBase32UpperCaseNoPadding } from '@oslojs/encoding'
import {
  compact,
  each,
  fullName,
  isTrue,
  listIn,
  objectOf,
  type Reader,
  type Row,
  readJson,
  readNdjson,
  readTable,
  textOf,
  timeOf,
} from './source.ts'

/** A project's parameters as JSON, as the Firebase console shows them under "Password hash parameters". */
const FIREBASE_HASHING = ['base64_signer_key', 'base64_salt_separator', 'rounds', 'mem_cost'] as const
type FirebaseHashing = Record<(typeof FIREBASE_HASHING)[number], unknown>

/** Refuses incomplete parameters: without one of them every hash could be read, but no password would match. */
function readHashing(file: string): FirebaseHashing {
  const hashing = readJson<Partial<FirebaseHashing> | null>(file)
  const lacking = FIREBASE_HASHING.filter((name) => textOf(hashing?.[name]) === undefined)
  if (lacking.length > 0) throw new Error(`${file} lacks ${lacking.join(', ')}.`)
  return hashing as FirebaseHashing
}

const toStandard = (base64: unknown) => textOf(base64)?.replaceAll('-', '+').replaceAll('_', '/') ?? ''

/** `firebase auth:export users.json`, with the project's parameters in a second file. */
export const firebase: Reader = (file, extras) => {
  const hashing = extras.with === undefined ? undefined : readHashing(extras.with)
  return each(listIn(file, 'users'), (row) => ({
    email: textOf(row.email),
    name: textOf(row.displayName),
    external_id: textOf(row.localId),
    password_hash: firebaseHash(row, hashing),
    email_verified: isTrue(row.emailVerified),
    created_at: timeOf(row.createdAt),
    disabled: isTrue(row.disabled),
    admin_metadata: objectOf(row.customAttributes),
  }))
}

function firebaseHash({ passwordHash, salt }: Row, hashing: FirebaseHashing | undefined) {
  if (textOf(passwordHash) === undefined) return undefined
  if (!hashing)
    throw new Error('There are passwords: give the hash parameters of the project, as JSON, with --with.')
  const { mem_cost, rounds, base64_salt_separator, base64_signer_key } = hashing
  const parameters = `v=1,n=${mem_cost},r=${rounds},p=1,ss=${base64_salt_separator},sk=${base64_signer_key}`
  return `$fbscrypt$${parameters}$${toStandard(salt)}$${toStandard(passwordHash)}`
}

/**
 * A realm, as `kc.sh export --users realm_file` writes it. Service accounts are left out. Attributes were written by
 * administrators, and apps may rely on them: users may not change their own, unless `ownAttributes` says so.
 */
export const keycloak: Reader = (file, { ownAttributes = false }) =>
  each(
    listIn(file, 'users').filter(({ value }) => value.serviceAccountClientId === undefined),
    (row) => {
      const credentials = ((row.credentials as Row[] | undefined) ?? []).map(toCredential)
      const otps = credentials.filter(({ type }) => type === 'otp')
      const otp = otps.find((one) => !isOfCounter(one)) ?? otps[0]
      const roles = ((row.realmRoles as string[] | undefined) ?? []).filter(
        (role) => !/^(default-roles-|offline_access$|uma_authorization$)/.test(role),
      )
      return {
        email: textOf(row.email),
        name: fullName(row.firstName, row.lastName) ?? textOf(row.username),
        external_id: textOf(row.id),
        password_hash: keycloakHash(credentials.find(({ type }) => type === 'password')),
        email_verified: isTrue(row.emailVerified),
        created_at: timeOf(row.createdTimestamp),
        disabled: !isTrue(row.enabled),
        metadata: ownAttributes ? objectOf(row.attributes) : undefined,
        admin_metadata: compact({
          username: textOf(row.username),
          roles: roles.length > 0 ? roles : undefined,
          attributes: ownAttributes ? undefined : objectOf(row.attributes),
        }),
        // An app that counts is passed on as what it is, and left out by the import: if it were taken for one that
        // uses the time, its codes would never be correct.
        factors: otp && { [isOfCounter(otp) ? 'hotp' : 'totp']: keycloakTotp(otp) },
      }
    },
  )

interface Credential {
  type: unknown
  secret: Row
  data: Row
}

/** Both are JSON strings inside the JSON. */
const toCredential = ({ type, secretData, credentialData }: Row): Credential => ({
  type,
  secret: JSON.parse(String(secretData ?? '{}')) as Row,
  data: JSON.parse(String(credentialData ?? '{}')) as Row,
})

function keycloakHash(credential: Credential | undefined): string | undefined {
  if (!credential) return undefined
  const { value, salt } = credential.secret
  const { algorithm, hashIterations, additionalParameters = {} } = credential.data
  if (algorithm !== 'argon2') return `$${algorithm}$i=${hashIterations}$${salt}$${value}`
  const [first] = Object.entries(additionalParameters as Record<string, string[]>).length
    ? [additionalParameters as Record<string, string[]>]
    : [{}]
  const of = (name: string) => first[name]?.[0]
  const withoutPadding = (base64: unknown) => String(base64).replace(/=+$/, '')
  const version = of('version') === '1.0' ? 16 : 19
  return `$argon2${of('type') ?? 'id'}$v=${version}$m=${of('memory')},t=${hashIterations},p=${of('parallelism')}$${withoutPadding(salt)}$${withoutPadding(value)}`
}

const isOfCounter = ({ data }: Credential) => data.subType === 'hotp'

/** The secret is text whose bytes are the seed, unless it says that it is base32. */
const keycloakTotp = ({ secret, data }: Credential) => ({
  secret:
    data.secretEncoding === 'BASE32'
      ? secret.value
      : encodeBase32UpperCaseNoPadding(new TextEncoder().encode(String(secret.value))),
  digits: data.digits ?? 6,
  period: data.period ?? 30,
  algorithm: String(data.algorithm ?? 'HmacSHA1').replace(/^Hmac/i, ''),
})

/** Auth0's export of users, with the file of hashes from its support; the two are joined by id. */
export const auth0: Reader = (file, extras) => {
  const hashes = new Map(
    (extras.with === undefined ? [] : readNdjson(extras.with)).map(({ value: row }) => [
      textOf((row._id as Row | undefined)?.$oid ?? row._id),
      textOf(row.passwordHash),
    ]),
  )
  return each(readTable(file), (row) => {
    const id = textOf(row.user_id ?? row.id)
    return {
      email: textOf(row.email),
      name: textOf(row.name) === textOf(row.email) ? textOf(row.nickname) : textOf(row.name),
      external_id: id,
      password_hash: hashes.get(id?.replace(/^auth0\|/, '')),
      email_verified: isTrue(row.email_verified),
      created_at: timeOf(row.created_at),
      disabled: isTrue(row.blocked),
      metadata: objectOf(row.user_metadata),
      admin_metadata: objectOf(row.app_metadata),
    }
  })
}
