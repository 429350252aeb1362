import { expect, test } from 'vitest'
import { readForeignHash } from '../../src/passwords/foreign/reading.ts'
import { verifyForeign } from '../../src/passwords/foreign/verification.ts'
import made from './vectors.json'

const MY_PASSWORD = 'my password'

/** From the tests of other software that does not run here. */
const PUBLISHED = [
  // dotnet/aspnetcore, src/Identity/test/Identity.Test/PasswordHasherTest.cs
  ...[
    'AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg==',
    'ANXrDknc7fGPpigibZXXZFMX4aoqz44JveK6jQuwY3eH/UyPhvr5xTPeGYEckLxz9A==',
    'AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg+yWU7rLgUwPZb1Itsmra7cbxw2EFpwpVFIEtP+JIuUEw==',
    'AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw',
    'AQAAAAIAAAD6AAAAIJbVi5wbMR+htSfFp8fTw8N8GOS/Sje+S/4YZcgBfU7EQuqv4OkVYmc4VJl9AGZzmRTxSkP7LtVi9IWyUxX8IAAfZ8v+ZfhjCcudtC1YERSqE1OEdXLW9VukPuJWBBjLuw==',
    'AQAAAAAAAAD6AAAAEAhftMyfTJylOlZT+eEotFXd1elee8ih5WsjXaR3PA9M',
    'AQAAAAEAA9CQAAAAIESkQuj2Du8Y+kbc5lcN/W/3NiAZFEm11P27nrSN5/tId+bR1SwV8CO1Jd72r4C08OLvplNlCDc3oQZ8efcW+jQ=',
  ].map((hash) => ({ by: 'ASP.NET Identity', password: MY_PASSWORD, hash })),
  // supabase/auth, internal/crypto/password_test.go
  {
    by: 'Firebase, by Supabase',
    password: 'mytestpassword',
    hash: '$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=ou9tdYTGyYm8kuR6Dt0Bp0kDuAYoXrK16mbZO4yGwAn3oLspjnN0/c41v8xZnO1n14J3MjKj1b2g6AUCAlFwMw==$C0sHCg9ek77hsg==$zKVTMvnWVw5BBOZNUdnsalx4c4c7y/w7IS5p6Ut2+CfEFFlz37J9huyQfov4iizN8dbjvEJlM5tQaJP84+hfTw==',
  },
  // firebase/scrypt, README.md
  {
    by: 'Firebase',
    password: 'user1password',
    hash: '$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==',
  },
]

/** better-auth 1.7.25: `hashPassword` of better-auth/crypto, in Node. */
const BETTER_AUTH = [
  {
    by: 'better-auth',
    password: 'correct horse battery',
    hash: '586b1b58cb96fd972ad5d6753d854a68:f76eea137ff189bdfe3ce5871b698e80dda512b377f56d1a0114475283ef6112854abdbf0de92ebdceefed3c947adb9634fa4155da3510e369010f4dacc2f78c',
  },
  {
    by: 'better-auth',
    password: 'Grüße, Ame\u0301lie é пароль 🦊',
    hash: '56d25f825f801aa8e105c82e78cc3fe1:ffc1ae88b0aa0da2de5e2a313232004e31e7cf60103a1fc6ea815ae655e53b1a7ee96067805a8f236479e9c0edc8847dd9d9029cbf4b35902382529888dfc682',
  },
]

/** bcrypt uses 72 bytes, and ignores the rest. */
const BCRYPT_BYTES = 72
const CRYPTS_PASSWORD = /^(?:bcrypt\$)?\$2[aby]\$/

const verify = async (hash: string, password: string) => {
  const read = readForeignHash(hash)
  if (read.verdict !== 'verified') throw new Error(`${hash} is ${read.verdict}`)
  let pauses = 0
  const isRight = await verifyForeign(read.hash, password, async () => void pauses++)
  return { isRight, pauses }
}

test.each(
  [...made, ...PUBLISHED, ...BETTER_AUTH].map(({ by, password, hash }) => [by, password, hash] as const),
)('%s: "%s" is correct, and nothing similar is', async (by, password, hash) => {
  expect((await verify(hash, password)).isRight).toBe(true)
  const isCut = CRYPTS_PASSWORD.test(hash) && Buffer.from(password).length > BCRYPT_BYTES
  expect((await verify(hash, `${password} `)).isRight).toBe(isCut)
  // Without normalisation, an é in two characters is not the same password as in one.
  if (password !== password.normalize('NFC'))
    expect((await verify(hash, password.normalize('NFC'))).isRight).toBe(by === 'better-auth')
})

test('PBKDF2 lets others in after each slice of a fixed number of rounds', async () => {
  const of = (name: string) => made.find(({ by }) => by === name)!
  const { hash, password } = of('Django 5.2 pbkdf2_sha256')
  expect(await verify(hash, password)).toEqual({ isRight: true, pauses: 100 })
  const keycloak = of('as Keycloak, pbkdf2-sha512 (hashlib)')
  expect(await verify(keycloak.hash, keycloak.password)).toEqual({ isRight: true, pauses: 7 })
})
