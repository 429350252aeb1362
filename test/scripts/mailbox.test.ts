import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { startMailbox } from '../../scripts/local/mailbox.ts'

const home = mkdtempSync(join(tmpdir(), 'roster-mailbox-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const apiKey = 'the key of this mailbox'
const MAIL = {
  from: 'Roster <roster@people.test>',
  to: ['ada@people.test'],
  subject: 'Hello',
  text: 'Hello, Ada.',
  html: '<p>Hello, Ada.</p>',
}

const send = async (url: string, mail: unknown, key?: string, headers: Record<string, string> = {}) => {
  const answer = await fetch(`${url}/emails`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${apiKey}`,
      ...(key !== undefined && { 'idempotency-key': key }),
      ...headers,
    },
    body: typeof mail === 'string' ? mail : JSON.stringify(mail),
  })
  return [answer.status, (await answer.json()) as { id?: string; name?: string }] as const
}
const read = async (url: string) => {
  const answer = await fetch(`${url}/mails`, { headers: { authorization: `Bearer ${apiKey}` } })
  return (await answer.json()) as { subject: string; to: string[] }[]
}

test('Fault 17: the local mailbox refuses what the mail service refuses, and keeps none of it', async () => {
  const mailbox = await startMailbox({ apiKey })
  const { to: _, ...withoutTo } = MAIL
  const refusals: [
    status: number,
    name: string,
    mail: unknown,
    key?: string | undefined,
    headers?: Record<string, string>,
  ][] = [
    [401, 'missing_api_key', MAIL, undefined, { authorization: '' }],
    [403, 'invalid_api_key', MAIL, undefined, { authorization: 'Bearer another' }],
    [400, 'validation_error', '{"from":'],
    [422, 'missing_required_field', withoutTo],
    [422, 'validation_error', { ...MAIL, to: [] }],
    [422, 'validation_error', { ...MAIL, to: Array.from({ length: 51 }, () => 'ada@people.test') }],
    [422, 'validation_error', { ...MAIL, to: ['Ada'] }],
    [422, 'validation_error', { ...MAIL, from: 'Roster <roster@people.test' }],
    [422, 'validation_error', { ...MAIL, text: '', html: '' }],
    [400, 'invalid_idempotency_key', MAIL, 'k'.repeat(257)],
  ]
  for (const [status, name, mail, key, headers] of refusals) {
    const [answered, problem] = await send(mailbox.url, mail, key, headers)
    expect([answered, problem.name], name).toEqual([status, name])
  }
  expect(await read(mailbox.url)).toEqual([])
  expect((await send(mailbox.url, { ...MAIL, to: 'ada@people.test' }))[0]).toBe(200)
  expect(await read(mailbox.url)).toMatchObject([{ to: ['ada@people.test'] }])
  await mailbox.close()
})

test('Fault 17: it keeps its idempotency keys over a restart, and survives a mail without a recipient', async () => {
  const file = join(home, 'mails.jsonl')
  const first = await startMailbox({ apiKey, file })
  const [, sent] = await send(first.url, MAIL, 'once')
  expect((await send(first.url, MAIL, 'once'))[1]).toEqual(sent)
  await first.close()

  const older = { id: 'older', from: MAIL.from, subject: 'Of an earlier version', text: '', html: '', at: '' }
  // The last line was cut off: its sender was never told that the mail had arrived.
  writeFileSync(file, `${JSON.stringify(older)}\n${readFileSync(file, 'utf8')}{"mail":{"id`)
  const second = await startMailbox({ apiKey, file })
  expect((await send(second.url, MAIL, 'once'))[1]).toEqual(sent)
  const [status, problem] = await send(second.url, { ...MAIL, subject: 'Another' }, 'once')
  expect([status, problem.name]).toEqual([409, 'invalid_idempotent_request'])
  expect((await read(second.url)).map(({ subject }) => subject)).toEqual(['Hello', 'Of an earlier version'])
  const page = await fetch(`${second.url}/?key=${encodeURIComponent(apiKey)}`)
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('Of an earlier version')])
  await second.close()
})
