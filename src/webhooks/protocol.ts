import { and, eq, getTableColumns, gt, inArray, isNotNull, isNull, lte, or, sql } from 'drizzle-orm'
import { claiming, type Due, isAttempt, MAX_CONCURRENT } from '../database/deliveries.ts'
import { build, databaseNow } from '../database/statements.ts'
import { isAccepted } from '../http/outbound.ts'
import { HOUR_MS, MINUTE_MS } from '../values/durations.ts'
import {
  hooksWithOldest,
  IS_OPEN,
  isOpen,
  isRefusedHead,
  OWED_MS,
  REFUSED_AFTER,
  REST_AFTER,
  refusedHeadOf,
  type WebhookDelivery,
  webhookDeliveries,
  webhooks,
} from './models.ts'

/**
 * Who may send what, and when. test/faults/webhooks-model.test.ts goes through all orders of these events.
 *
 * - Line: a delivery is claimed only if no earlier one to the same webhook about the same user is open. It is
 *   open until the receiver has accepted it, or its three days are over.
 * - Pause: a webhook that has failed is left alone until `next_try_at`; then only its oldest open delivery is
 *   tried. A success at its address ends the pause, even that of a try by hand.
 * - Refused: a delivery that the receiver has refused ten times gets pauses of its own, up to an hour. The
 *   oldest of the next line is tried beside it, so messages that are never accepted, however many, do not block
 *   those about other users. At most the newest thousand of its own line wait behind it, as the query for due
 *   deliveries passes over each; older ones are given up.
 * - Rest: after a 410, or a day of failures, nothing is sent until somebody wakes the webhook by PATCH, or by
 *   a test that is accepted. Neither a delivery already on its way nor a try by hand wakes it.
 * - Claim: the sender has moved `next_attempt_at`. It must send within half the claim, so that a delivery on
 *   its way is never overtaken. The result is recorded only for that claim.
 */

const CLAIM_MS = MINUTE_MS
/** Random, so that no two claims of one row end at the same moment. */
const CLAIM_SPREAD_MS = 20_000
/**
 * How long after the claim was requested a send may begin. The send itself takes at most five seconds more.
 */
export const SEND_WITHIN_MS = CLAIM_MS / 2
const FIRST_PAUSE_MS = 5000

/** A claimed delivery, with the webhook as it was then. */
export interface Claimed extends Omit<WebhookDelivery, 'event_details'> {
  /** As bytes: invalid UTF-8 in one row would make the whole claim fail. */
  event_details: ArrayBuffer | null
  url: string
  secret: string
  former_secret: string | null
  former_secret_until: number | null
  failures: number
  failing_since: number | null
  hook_next_try_at: number | null
}

/** For a SELECT of deliveries with their webhook. */
const claimedColumns = {
  ...getTableColumns(webhookDeliveries),
  event_details: sql<ArrayBuffer | null>`CAST(${webhookDeliveries.event_details} AS BLOB)`.as(
    'event_details',
  ),
  url: sql<string>`${webhooks.url}`.as('url'),
  secret: sql<string>`${webhooks.secret}`.as('secret'),
  former_secret: sql<string | null>`${webhooks.former_secret}`.as('former_secret'),
  former_secret_until: sql<number | null>`${webhooks.former_secret_until}`.as('former_secret_until'),
  failures: sql<number>`${webhooks.failures}`.as('failures'),
  failing_since: sql<number | null>`${webhooks.failing_since}`.as('failing_since'),
  hook_next_try_at: sql<number | null>`${webhooks.next_try_at}`.as('hook_next_try_at'),
}

export const selectWithHook = () =>
  build
    .select(claimedColumns)
    .from(webhookDeliveries)
    .innerJoin(webhooks, eq(webhooks.id, webhookDeliveries.webhook_id))

/**
 * A condition on `delivery`: that no earlier one is open in its line, or at its webhook apart from refused
 * lines.
 */
const isFirst = (delivery: string, of: 'webhook' | 'line') =>
  sql`NOT EXISTS (SELECT 1 FROM ${webhookDeliveries} AS earlier WHERE ${isOpen('earlier')}
    AND earlier.webhook_id = ${sql.raw(delivery)}.webhook_id AND earlier.id < ${sql.raw(delivery)}.id
    AND ${
      of === 'line'
        ? sql`earlier.user_id IS ${sql.raw(delivery)}.user_id`
        : sql`${refusedHeadOf('earlier')} IS NULL`
    })`

/** A due delivery, and the time by the database's clock. */
export interface DueDelivery extends Due<number> {
  database_now: number
}

/**
 * Selects what may be claimed now, from each webhook in turn, so that one with many deliveries does not hold up
 * others; and in each turn, what has not been refused again and again before what has.
 */
export const selectDueDeliveries =
  () => sql<DueDelivery>`SELECT id, attempts, next_attempt_at, ${databaseNow} AS database_now FROM (
    SELECT delivery.id, delivery.attempts, delivery.next_attempt_at, ${isRefusedHead('delivery')} AS is_refused,
      row_number() OVER (PARTITION BY hook.id, ${isRefusedHead('delivery')} ORDER BY delivery.id) AS turn
    FROM ${hooksWithOldest()}
    WHERE hook.rested_at IS NULL AND coalesce(hook.next_try_at, 0) <= ${databaseNow}
      AND delivery.next_attempt_at <= ${databaseNow} AND delivery.is_fixed = 1 AND ${isFirst('delivery', 'line')}
      AND (hook.next_try_at IS NULL OR ${isFirst('delivery', 'webhook')}))
  ORDER BY turn, is_refused, id LIMIT ${MAX_CONCURRENT}`

/**
 * A condition on a delivery: that it may be claimed. Once the batch has claimed it, the next in its line may
 * not be.
 */
const mayBeClaimed = sql`${IS_OPEN} AND is_fixed = 1 AND ${isFirst('webhook_deliveries', 'line')}
  AND EXISTS (SELECT 1 FROM ${webhooks} AS hook WHERE hook.id = webhook_deliveries.webhook_id AND hook.rested_at IS NULL
    AND (hook.next_try_at IS NULL OR (hook.next_try_at <= ${databaseNow} AND ${isFirst('webhook_deliveries', 'webhook')})))`

/** The batch that claims these deliveries, and gives up those whose time is over. */
export function claimDeliveries(due: readonly DueDelivery[]) {
  const ids = due.map(({ id }) => id)
  const claims = claiming(webhookDeliveries, due, due[0]!.database_now, mayBeClaimed, {
    pauseOf: () => CLAIM_MS + Math.floor(Math.random() * CLAIM_SPREAD_MS),
  })
  return {
    dead: build
      .update(webhookDeliveries)
      .set({ dead_at: databaseNow })
      .where(
        and(
          inArray(webhookDeliveries.id, ids),
          IS_OPEN,
          // If another sender has claimed it by now, it is on its way.
          lte(webhookDeliveries.next_attempt_at, databaseNow),
          lte(webhookDeliveries.owed_at, sql`${databaseNow} - ${OWED_MS}`),
        ),
      )
      .returning({ id: webhookDeliveries.id, webhook_id: webhookDeliveries.webhook_id }),
    claims: claims.map(({ claim }) => claim),
    claimed: selectWithHook().where(
      and(or(...claims.map(({ isClaimed }) => isClaimed)), isNull(webhookDeliveries.dead_at)),
    ),
  }
}

type Attempt = Pick<
  Claimed,
  'id' | 'next_attempt_at' | 'webhook_id' | 'url' | 'attempts' | 'failures' | 'hook_next_try_at'
>

/** The status of the answer; undefined if there was none. */
export type Answered = number | undefined

const sent = (status: Answered) => ({ last_attempt_at: databaseNow, last_status: status ?? null })

/** A success at the webhook's address ends its pause. Only that of a test ends its rest as well. */
const wake = ({ webhook_id, url }: Pick<Claimed, 'webhook_id' | 'url'>, isTest = false) =>
  build
    .update(webhooks)
    .set({ failures: 0, failing_since: null, next_try_at: null, rested_at: null })
    .where(
      and(
        eq(webhooks.id, webhook_id),
        eq(webhooks.url, url),
        isTest
          ? or(gt(webhooks.failures, 0), isNotNull(webhooks.rested_at))
          : and(gt(webhooks.failures, 0), isNull(webhooks.rested_at)),
      ),
    )

export const noteDelivered = (attempt: Attempt, status: Answered) => ({
  delivery: build
    .update(webhookDeliveries)
    .set({ ...sent(status), delivered_at: databaseNow })
    .where(and(isAttempt(webhookDeliveries, attempt), IS_OPEN)),
  hook: wake(attempt),
})

/**
 * Records a failure. Of several deliveries on their way to one webhook, only the first to fail lengthens the
 * pause.
 */
export const noteFailed = (attempt: Attempt, status: Answered) => ({
  delivery: build
    .update(webhookDeliveries)
    .set({ ...sent(status), next_attempt_at: sql`${databaseNow} + ${ownPause(attempt, status)}` })
    .where(and(isAttempt(webhookDeliveries, attempt), IS_OPEN)),
  hook: build
    .update(webhooks)
    .set({
      failures: sql`${webhooks.failures} + 1`,
      failing_since: sql`coalesce(${webhooks.failing_since}, ${databaseNow})`,
      next_try_at: sql`${databaseNow} + ${pauseAfter(attempt.failures)}`,
    })
    .where(
      and(
        eq(webhooks.id, attempt.webhook_id),
        eq(webhooks.url, attempt.url),
        isNull(webhooks.rested_at),
        sql`${webhooks.next_try_at} IS ${attempt.hook_next_try_at}`,
      ),
    ),
})

/** Whether it has been refused so often that others go on without it. */
export const isRefused = ({ attempts }: Pick<Claimed, 'attempts'>, status: Answered) =>
  status !== undefined && attempts >= REFUSED_AFTER

/** The pause of a message that is refused again and again; otherwise only its webhook pauses. */
const ownPause = (attempt: Attempt, status: Answered) =>
  isRefused(attempt, status) ? pauseAfter(attempt.attempts) : 0

const pauseAfter = (failures: number) =>
  Math.round(Math.min(HOUR_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 20)) * (0.9 + Math.random() * 0.1))

/** The most that wait behind a refused delivery. */
const MAX_BEHIND_REFUSED = 1000

/** Gives up the excess behind a refused delivery. While that one is open, nobody has claimed any of them. */
export const giveUpBehind = ({
  id,
  webhook_id,
  user_id,
}: Pick<Claimed, 'id' | 'webhook_id' | 'user_id'>) => ({
  given_up: build
    .update(webhookDeliveries)
    .set({ dead_at: databaseNow })
    .where(
      sql`id IN (SELECT behind.id FROM ${webhookDeliveries} AS behind WHERE ${isOpen('behind')}
          AND behind.user_id IS ${user_id} AND behind.webhook_id = ${webhook_id} AND behind.id > ${id}
          ORDER BY behind.id DESC LIMIT -1 OFFSET ${MAX_BEHIND_REFUSED})
        AND EXISTS (SELECT 1 FROM ${webhookDeliveries} AS refused WHERE refused.id = ${id} AND ${isOpen('refused')})`,
    )
    .returning({ id: webhookDeliveries.id }),
})

/** Reads a claimed delivery again: its user may have been erased meanwhile, or its webhook removed. */
export const selectClaimed = (attempt: Attempt) =>
  selectWithHook().where(and(isAttempt(webhookDeliveries, attempt), IS_OPEN))

/** Releases a claim without a send: the webhook does not answer, or it is too late to send. */
export const giveBack = (attempt: Attempt) => ({
  delivery: build
    .update(webhookDeliveries)
    .set({ next_attempt_at: databaseNow, attempts: sql`${webhookDeliveries.attempts} - 1` })
    .where(and(isAttempt(webhookDeliveries, attempt), IS_OPEN)),
})

/**
 * Records a try by hand. It holds no claim, so it changes nothing for a sender that does. If it succeeds, a
 * delivery that was open or given up counts as sent out of order from then on.
 */
export const noteByHand = (
  { id, ...of }: Pick<Claimed, 'id' | 'webhook_id' | 'url'>,
  status: Answered,
  isTest: boolean,
) => ({
  delivery: build
    .update(webhookDeliveries)
    .set({
      ...sent(status),
      ...(isAccepted(status) && {
        by_hand: sql`iif(${webhookDeliveries.delivered_at} IS NULL, 1, ${webhookDeliveries.by_hand})`,
        delivered_at: sql`coalesce(${webhookDeliveries.delivered_at}, ${databaseNow})`,
      }),
    })
    .where(eq(webhookDeliveries.id, id)),
  hook: isAccepted(status) ? [wake(of, isTest)] : [],
})

/** Whether this failure may be the one after which a webhook rests: the write decides, by `isOver`. */
export const mayBeOver = ({ failures }: Pick<Claimed, 'failures'>, status: Answered) =>
  status === 410 || failures + 1 >= REST_AFTER.tries

/** A condition: that the webhook has failed for too long, or its address is gone for good (410). */
export const isOver = (webhookId: string, url: string, status: Answered) =>
  sql`EXISTS (SELECT 1 FROM ${webhooks} WHERE id = ${webhookId} AND url = ${url} AND rested_at IS NULL AND ${
    status === 410
      ? sql`1`
      : sql`failures >= ${REST_AFTER.tries} AND failing_since <= ${databaseNow} - ${REST_AFTER.ms}`
  })`
