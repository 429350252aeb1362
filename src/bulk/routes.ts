import { reauthenticationRequired } from '../access/errors.ts'
import { limitLists, requirePermission } from '../access/guards.ts'
import { ledgerUnavailable } from '../activity/ledger.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { body, operation, query, rows } from '../http/operation.ts'
import { mailNotConfigured } from '../mail/errors.ts'
import { untilInThePast } from '../users/errors.ts'
import { FILE } from '../users/routes/responses.ts'
import { changeInBulk } from './change.ts'
import { ExportActivity, ExportUsers, exportActivity, exportUsers, WHOLE } from './export.ts'
import { readLines } from './import/lines.ts'
import { ImportedUser, ImportQuery, ImportResult, MAX_BYTES, MAX_ROWS, TYPES } from './import/schemas.ts'
import { importUsers } from './import/service.ts'
import { BulkInvitations, InvitationsInBulk, inviteInBulk } from './invitations.ts'
import { file } from './rows.ts'
import { BulkChange, BulkResult, MAX_AT_ONCE } from './schemas.ts'

/** Many users at once. */
export const bulkRoutes = new Hono<AppEnv>()
  .post(
    '/users/bulk',
    operation({
      id: 'changeUsersInBulk',
      tag: 'users',
      summary: `Do one thing to up to ${MAX_AT_ONCE} users, with a result for each`,
      description:
        'Each follows the rules of the single action; `end_sessions` needs the permission `sessions:manage` too, and `delete` `users:delete`. One that fails does not stop the others; but where one takes a recent login, all are refused without it.',
      responses: { 200: BulkResult },
      problems: [untilInThePast, reauthenticationRequired],
    }),
    requirePermission('users:update'),
    body(BulkChange),
    async (c) => c.json(await changeInBulk(c.var, c.var.body)),
  )
  .get(
    '/users/export',
    operation({
      id: 'exportUsers',
      tag: 'users',
      summary: 'All users of a list, as a file',
      description: `Takes every filter of the list. A cell that a spreadsheet would take for a formula begins with an apostrophe. ${WHOLE}`,
      responses: { 200: 'rows' },
      responseHeaders: FILE,
      problems: [reauthenticationRequired],
    }),
    requirePermission('users:export'),
    limitLists,
    query(ExportUsers),
    async (c) => file(c, 'users', c.var.query.format, await exportUsers(c.var, c.var.query)),
  )
  .post(
    '/users/import',
    operation({
      id: 'importUsers',
      tag: 'users',
      summary: `Take up to ${MAX_ROWS} users over from somewhere else, with a result for each`,
      description: `One user a line, as NDJSON, or as CSV with the names in the first line; an empty cell counts as absent, and \`metadata\`, \`admin_metadata\` and \`factors\` are JSON. The same lines can be sent again: existing accounts are never changed. Nobody is mailed. At most ${MAX_BYTES / 1024 / 1024} MB.`,
      responses: { 200: ImportResult },
      problems: [ledgerUnavailable],
    }),
    requirePermission('users:import'),
    query(ImportQuery),
    rows({ types: TYPES, schema: ImportedUser, most: MAX_BYTES }),
    async (c) => {
      const { type, text } = c.var.text
      return c.json(await importUsers(c.var, readLines(type, text), c.var.query))
    },
  )
  .post(
    '/invitations/bulk',
    operation({
      id: 'inviteInBulk',
      tag: 'invitations',
      summary: `Invite up to ${MAX_AT_ONCE} people, or send again or withdraw as many invitations`,
      description: 'Each follows the rules of the single one. One that fails does not stop the others.',
      responses: { 200: BulkInvitations },
      problems: [reauthenticationRequired, mailNotConfigured],
    }),
    requirePermission('users:create'),
    body(InvitationsInBulk),
    async (c) => c.json(await inviteInBulk(c.var, c.var.body)),
  )
  .get(
    '/activity/export',
    operation({
      id: 'exportActivity',
      tag: 'activity',
      summary: 'The history, as a file',
      description: WHOLE,
      responses: { 200: 'rows' },
      responseHeaders: FILE,
      problems: [reauthenticationRequired],
    }),
    requirePermission('activity:read'),
    limitLists,
    query(ExportActivity),
    async (c) => file(c, 'activity', c.var.query.format, await exportActivity(c.var, c.var.query)),
  )
