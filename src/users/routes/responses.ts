import type { Context } from 'hono'
import { isRead } from '../../access/credentials.ts'
import { hasVersion } from '../../http/precondition.ts'
import type { AppError } from '../../http/problem.ts'
import { outranked, ownAccount, userNotFound, writeConflict } from '../errors.ts'
import type { ManagedProfile, Profile } from '../models.ts'
import { type ManagedUser, toManagedUser, toUser, type User } from '../schemas.ts'

export const ETAG = { ETag: 'The version of the user; send it back as If-Match or If-None-Match.' }
export const VERSIONED = { 200: ETAG, 304: ETAG }
export const FILE = { 200: { 'Content-Disposition': 'A file, with its name.' } }

/** The problems that managing one user may answer with. */
export const MANAGING_PROBLEMS: (() => AppError)[] = [userNotFound, ownAccount, outranked, writeConflict]

/** Answers with a user, and their version as ETag; with 304 to a read if the caller has that version already. */
function answer<U extends User>(c: Context, user: U, status: 200 | 201 = 200) {
  c.header('etag', `"${user.version}"`)
  if (isRead(c) && hasVersion(c, user.version)) return c.body(null, 304)
  if (status === 201) c.header('location', `/v1/users/${user.id}`)
  return c.json(user, status)
}

export const answerSelf = (c: Context, row: Profile) => answer(c, toUser(row))
export const answerManaged = (c: Context, row: ManagedProfile, earlierEmail?: string) =>
  answer(c, toManagedUser(row, earlierEmail))
export const answerCreated = (c: Context, user: ManagedUser) => answer(c, user, 201)

export const download = (c: Context, json: ReadableStream) =>
  c.body(json, 200, {
    'content-type': 'application/json',
    'content-disposition': 'attachment; filename="roster-export.json"',
  })
