import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, inject, test } from 'vitest'

/** The command as an operator gives it, with these settings. */
async function createAdmin(...options: string[]) {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, ['scripts/create-admin.ts', ...options], {
      env: { ...process.env, ...inject('bindings') },
    })
    return { code: 0, output: stdout }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, output: stdout + stderr }
  }
}

test('PW3, LE6: admin:create refuses a common password, makes an administrator once, and then changes nothing', async () => {
  const person = ['--email', `${crypto.randomUUID()}@people.test`, '--name', 'Ada Lovelace']
  const refused = await createAdmin(...person, '--password', 'password1234')
  expect(refused.code).toBe(1)
  expect(refused.output).toMatch(/^The password: is too common/)

  const made = await createAdmin(...person)
  expect(made.output).toMatch(/: created\nPassword: [\w-]{20}\n$/)
  const again = await createAdmin(...person)
  expect(again.output).toContain('nothing changed')
  expect(again.output).not.toContain('Password:')
}, 60_000)
