import { expect, test } from 'vitest'
import { readForeignHash } from '../../src/passwords/foreign/reading.ts'
import made from './vectors.json'

/** The rest of the hash: 22 characters of salt and 31 of digest. */
const BCRYPT = 'dyCJmPYnTbRy8yvobO3nMelLw4S/Mpt1Lb4zdEYcEfTkpdMtHyObq'
const DIGEST = 'EiU0weHTKzftz1SRIJA9sq74WIM7Y12Qsmb5vzjMsUk'
const SALT = 'SpEOv9PrmV7X2TL78z+P+Q'

test.each(made.map(({ by, hash }) => [by, hash]))('a hash of %s is read, and is verified', (_, hash) => {
  expect(readForeignHash(hash!)).toMatchObject({ verdict: 'verified' })
})

// The table of docs/foreign-hashes.md, at its edges.
test.each([
  [`$2b$13$${BCRYPT}`, 'verified'],
  [`$2y$14$${BCRYPT}`, 'needs_reset'],
  [`$2a$17$${BCRYPT}`, 'needs_reset'],
  [`$2b$18$${BCRYPT}`, 'invalid'],
  [`$2b$31$${BCRYPT}`, 'invalid'],
  [`$2b$03$${BCRYPT}`, 'invalid'],
  [`bcrypt_sha256$$2b$14$${BCRYPT}`, 'needs_reset'],
  [`$argon2id$v=19$m=65536,t=4,p=4$${SALT}$${DIGEST}`, 'verified'],
  [`$argon2id$v=19$m=65536,t=5,p=4$${SALT}$${DIGEST}`, 'needs_reset'],
  [`$argon2i$v=19$m=65537,t=1,p=1$${SALT}$${DIGEST}`, 'needs_reset'],
  [`argon2$argon2id$v=19$m=102400,t=2,p=8$${SALT}$${DIGEST}`, 'needs_reset'],
  [`$argon2id$v=19$m=1048576,t=1,p=1$${SALT}$${DIGEST}`, 'needs_reset'],
  [`$argon2id$v=19$m=1048577,t=1,p=1$${SALT}$${DIGEST}`, 'invalid'],
  [`$argon2id$v=19$m=4194304,t=1,p=1$${SALT}$${DIGEST}`, 'invalid'],
  [`$argon2d$v=19$m=4096,t=1,p=1$${SALT}$${DIGEST}`, 'needs_reset'],
  [`$scrypt$ln=16,r=8,p=2$${SALT}$${DIGEST}`, 'verified'],
  [`$scrypt$ln=16,r=8,p=3$${SALT}$${DIGEST}`, 'needs_reset'],
  [`$scrypt$ln=17,r=8,p=1$${SALT}$${DIGEST}`, 'needs_reset'],
  [`$scrypt$ln=20,r=8,p=1$${SALT}$${DIGEST}`, 'needs_reset'],
  [`$scrypt$ln=21,r=8,p=1$${SALT}$${DIGEST}`, 'invalid'],
  [`$scrypt$ln=30,r=8,p=1$${SALT}$${DIGEST}`, 'invalid'],
  // A small table, but with too much around it: the runtime would refuse it at each login.
  [`scrypt:64:8:2046$salt$${'0f'.repeat(64)}`, 'verified'],
  [`scrypt:64:8:2047$salt$${'0f'.repeat(64)}`, 'needs_reset'],
  [`scrypt:2:9999:52$salt$${'0f'.repeat(64)}`, 'needs_reset'],
  [`pbkdf2_sha256$1800000$salt$${DIGEST}=`, 'verified'],
  [`pbkdf2_sha256$1800001$salt$${DIGEST}=`, 'needs_reset'],
  [`$pbkdf2-sha512$i=700000$${SALT}$${DIGEST}`, 'verified'],
  [`$pbkdf2-sha512$i=700001$${SALT}$${DIGEST}`, 'needs_reset'],
  [`$pbkdf2-sha256$i=10000000$${SALT}$${DIGEST}`, 'needs_reset'],
  [`$pbkdf2-sha256$i=10000001$${SALT}$${DIGEST}`, 'invalid'],
  [`$pbkdf2-sha256$i=1000000000$${SALT}$${DIGEST}`, 'invalid'],
])('PW7: %s is %s', (hash, verdict) => {
  expect(readForeignHash(hash).verdict).toBe(verdict)
})

test.each([
  ['$6$rounds=5000$salt$abcdefgh', 'crypt(3)'],
  ['$P$B8JyJ1CMtgbKgSHIN/4AHNbp9n36iH0', 'phpass'],
  ['{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=', 'LDAP'],
  ['md5$abc$0123456789abcdef0123456789abcdef', 'Django'],
])('%s (%s) is known, verified nowhere, and needs a reset', (hash) => {
  expect(readForeignHash(hash)).toEqual({ verdict: 'needs_reset' })
})

test.each(['', '!', '!YwHnkPVtPUyeDO1dQmTbS1GcYtMpJBCZaXfzRfjo'])('"%s" counts as no password', (hash) => {
  expect(readForeignHash(hash)).toEqual({ verdict: 'none' })
})

test.each([
  'correct horse battery',
  'NULL',
  `$2b$12$${BCRYPT.slice(1)}`,
  `$2c$12$${BCRYPT}`,
  ` $2b$12$${BCRYPT}`,
  `$2b$12$${BCRYPT}\n`,
  // A digest so short that too many passwords would match it.
  `$pbkdf2-sha256$i=1000$${SALT}$AAAA`,
  `$argon2id$v=19$m=4096,t=1,p=1$${SALT}$AAAAAA`,
  `$pbkdf2-sha256$i=0$${SALT}$${DIGEST}`,
  `$argon2id$v=19$m=8,t=1,p=4$${SALT}$${DIGEST}`,
  `scrypt:32767:8:1$salt$${'0f'.repeat(64)}`,
  // Firebase without the project's key.
  `$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==$${SALT}$${DIGEST}`,
  // A blob of ASP.NET that is cut off, and one of a future version.
  'AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1',
  'AgAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==',
  `$2b$12$${BCRYPT.repeat(40)}`,
])('%s is not a hash', (hash) => {
  expect(readForeignHash(hash)).toEqual({ verdict: 'invalid', reason: 'unknown' })
})
