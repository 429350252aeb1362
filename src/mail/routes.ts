import { limitLists, requirePermission } from '../access/guards.ts'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { operation, query } from '../http/operation.ts'
import { answerList, invalidCursor } from '../http/pagination.ts'
import { mailEnded, mailNotFound } from './errors.ts'
import { ListMails, listMails, Mail, MailList, retryMail } from './listing.ts'

export const outboxRoutes = new Hono<AppEnv>()
  .get(
    '/',
    operation({
      id: 'listMails',
      tag: 'system',
      summary: 'Mails that were given up, or that wait',
      description: 'Without those that were given up because their link was void.',
      responses: { 200: MailList },
      problems: [invalidCursor],
    }),
    requirePermission('mails:manage'),
    limitLists,
    query(ListMails),
    async (c) => answerList(c, await listMails(c.var, c.var.query)),
  )
  .post(
    '/:id/retry',
    operation({
      id: 'retryMail',
      tag: 'system',
      summary: 'Try a mail again that was given up',
      description: 'One that waits or was sent stays as it is.',
      responses: { 200: Mail },
      problems: [mailNotFound, mailEnded],
    }),
    requirePermission('mails:manage'),
    async (c) => c.json(await retryMail(c.var, c.var.actor, c.req.param('id'))),
  )
