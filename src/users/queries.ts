import { eq } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build, type Places, prepare } from '../database/statements.ts'
import { userNotFound } from './errors.ts'
import { profileColumns, selectUsers, type User as UserRow, users } from './models.ts'

export const readUser = prepare(({ id }: Places<{ id: string }>) => ({
  user: selectUsers().where(eq(users.id, id)),
}))

/** Reads a person, deleted or not. Throws 404. */
export async function requireUser({ db }: Resources, id: string): Promise<UserRow> {
  const {
    user: [row],
  } = await db.read(readUser({ id }))
  if (!row) throw userNotFound()
  return row
}

export const readProfile = prepare(({ id }: Places<{ id: string }>) => ({
  profile: build.select(profileColumns).from(users).where(eq(users.id, id)),
}))
