import { writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { importPeople } from '../../scripts/people-import.ts'
import { openApi } from '../support/api.ts'
import { freshUpstreams } from '../support/upstreams.ts'
import betterAuth from './samples/better-auth.json?raw'
import django from './samples/django.json?raw'
import fastapi from './samples/fastapi.csv?raw'
import supabase from './samples/supabase.csv?raw'

/** As samples/make_* made them, with those systems' own code. */
const PASSWORD = 'correct horse Ängström'
/** A few seconds of hashing, on a machine that does other things as well. */
const LONG = 120_000

interface Dump {
  from: string
  dump: string
  verified?: boolean
  staff?: string
}

/** A deployment that has imported a dump with the script. */
async function taken({ dump, ...options }: Dump) {
  const api = openApi({ ...(await freshUpstreams()).bindings, EMAIL_VERIFICATION: 'optional' })
  const admin = await api.actor({ role: 'admin', email_verified_at: 1 })
  const fetch: typeof globalThis.fetch = async (input, { method, headers, body } = {}) => {
    const { pathname, search } = new URL(String(input))
    const given = { headers: headers as Record<string, string>, raw: String(body) }
    const { text, ...answer } = await api.send(method!, pathname + search, given)
    return new Response(text, answer)
  }
  const file = `/tmp/${crypto.randomUUID()}`
  writeFileSync(file, dump)
  const told = { url: 'http://roster.test', file, token: async () => admin.token, fetch, ...options }
  const { created, exists, invalid } = await importPeople(told)
  const people = await api.sql(
    `SELECT email, name, role, status, email_verified_at IS NOT NULL AS is_proved, needs_reset, metadata, admin_metadata
      FROM users WHERE id <> ? ORDER BY rowid`,
    [admin.id],
  )
  /** What each gets who signs in with their former password, and whether another one works. */
  async function signIns(emails: readonly string[]) {
    const answers: Record<string, string> = {}
    const logIn = async (email: string, password: string) => {
      const { status, body } = await api.send('POST', '/v1/auth/login', { body: { email, password } })
      return status === 200 ? 'in' : String(body.code)
    }
    for (const email of emails) answers[email] = await logIn(email, PASSWORD)
    for (const email of emails) expect([email, await logIn(email, `${PASSWORD}!`)]).not.toContain('in')
    return answers
  }
  return { counts: [created, exists, invalid], people, signIns }
}

// The table says the same: test/scripts/people.test.ts.
test(
  'Django: its users are imported, and sign in with the passwords they had',
  async () => {
    const { counts, people, signIns } = await taken({
      from: 'django',
      dump: django,
      verified: true,
      staff: 'manager',
    })
    // An address that exists in another case, and a missing one.
    expect(counts).toEqual([9, 0, 2])
    const of = (email: string) => people.find((one) => one.email === email)
    expect(of('user0@django.test')).toMatchObject({ name: 'Ada Nr 0', role: 'user', is_proved: 1 })
    expect(of('staff@django.test')).toMatchObject({ role: 'manager' })
    expect(of('root@django.test')).toMatchObject({ role: 'admin' })
    // Django's argon2 needs more memory than a login may use.
    expect(people.filter(({ needs_reset }) => needs_reset === 1)).toEqual([of('user3@django.test')])
    const emails = [0, 1, 2, 3, 4].map((nr) => `user${nr}@django.test`)
    expect(await signIns([...emails, 'twice@django.test', 'away@django.test'])).toEqual({
      'user0@django.test': 'in',
      'user1@django.test': 'in',
      'user2@django.test': 'in',
      'user3@django.test': 'invalid_credentials',
      'user4@django.test': 'in',
      'twice@django.test': 'in',
      'away@django.test': 'invalid_credentials',
    })
  },
  LONG,
)

test(
  'The FastAPI template: so do its users, with bcrypt or argon2',
  async () => {
    const { counts, people, signIns } = await taken({
      from: 'fastapi',
      dump: fastapi,
      verified: true,
      staff: 'manager',
    })
    expect(counts).toEqual([4, 0, 1])
    const told = people.map(({ email, name, role, status }) => [email, name, role, status])
    expect(told).toEqual([
      ['root@fastapi.example.com', 'root', 'admin', 'active'],
      ['ada@fastapi.example.com', 'Ada, of Löwen', 'user', 'active'],
      ['Grace@fastapi.example.com', 'Grace', 'user', 'active'],
      ['gone@fastapi.example.com', 'Gone', 'user', 'disabled'],
    ])
    expect(await signIns(told.map(([email]) => String(email)))).toEqual({
      'root@fastapi.example.com': 'in',
      'ada@fastapi.example.com': 'in',
      'Grace@fastapi.example.com': 'in',
      'gone@fastapi.example.com': 'account_disabled',
    })
  },
  LONG,
)

test(
  'Supabase: so do those of auth.users, with its own hashes and with those it had imported itself',
  async () => {
    const { counts, people, signIns } = await taken({ from: 'supabase', dump: supabase })
    // Deleted and anonymous users are left out, and one with only a phone has no address.
    expect(counts).toEqual([7, 0, 1])
    expect(people[0]).toMatchObject({
      name: 'Ada "the first", King',
      is_proved: 1,
      metadata: '{"full_name":"Ada \\"the first\\", King","email_verified":true}',
      admin_metadata: '{"provider":"email","providers":["email"]}',
    })
    expect(people.filter(({ is_proved }) => is_proved === 0).map(({ email }) => email)).toEqual([
      'unconfirmed@supabase.test',
    ])
    expect(await signIns(people.map(({ email }) => String(email)))).toEqual({
      'ada@supabase.test': 'in',
      'grace@supabase.test': 'in',
      'firebase@supabase.test': 'in',
      'seed@supabase.test': 'in',
      'unconfirmed@supabase.test': 'in',
      'banned@supabase.test': 'account_disabled',
      'github@supabase.test': 'invalid_credentials',
    })
  },
  LONG,
)

test(
  'better-auth: so do its users, however their Ä was typed',
  async () => {
    const { counts, people, signIns } = await taken({ from: 'better-auth', dump: betterAuth })
    expect(counts).toEqual([6, 0, 0])
    expect(people.map(({ is_proved }) => is_proved)).toEqual([1, 0, 0, 0, 1, 1])
    expect(people[4]).toMatchObject({ role: 'user', admin_metadata: '{"role":"admin"}' })
    expect(await signIns(people.map(({ email }) => String(email)))).toEqual({
      'ada@better.test': 'in',
      'wide@better.test': 'in',
      'banned@better.test': 'account_disabled',
      // A ban that has ended.
      'over@better.test': 'in',
      'admin@better.test': 'in',
      'hub@better.test': 'invalid_credentials',
    })
  },
  LONG,
)
