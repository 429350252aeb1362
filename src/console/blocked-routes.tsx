import type { Context } from 'hono'
import { Hono } from '../http/hono.ts'
import { readUpload } from '../http/operation.ts'
import { invalidCursor, type List } from '../http/pagination.ts'
import { invalidInput } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { form, sessionOf } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import { limitedList, type PageEnv, signedInPage } from '../pages/session.ts'
import { doneMessage, type Outcome, submit, whereUnread } from '../pages/submit.ts'
import type { View } from '../pages/view.ts'
import { FAULTS, type Fault, faultOfEntry, readEntries } from '../signup-blocks/entries.ts'
import { MAX_SIGNUP_BLOCKS } from '../signup-blocks/models.ts'
import { ListSignupBlocks, type SignupBlock, UpdateSignupBlocks } from '../signup-blocks/schemas.ts'
import { changeSignupBlocks, listSignupBlocks } from '../signup-blocks/service.ts'
import { entriesOf, namesMany, spellEntry } from '../values/blocked.ts'
import { BLOCKED_PAGE, BlockedPage, blockedAt, type Place } from './blocked.tsx'
import { readFilter } from './input.ts'

/** All that there may be, with its remarks, as a form sends it. */
const MOST_MEGABYTES = 1
const pasted = form(sessionOf, readUpload(MOST_MEGABYTES * 1024 * 1024))
const ours = form(sessionOf)

const placeIn = ({ cursor, covers }: Record<string, string>): Place => ({
  ...(covers && { covers }),
  ...(cursor && { cursor }),
})

const NONE: List<SignupBlock> = {
  data: [],
  pagination: { limit: 50, next_cursor: null, prev_cursor: null, total: null },
}

const blockedPage = async (
  c: Context<PageEnv>,
  outcome: Outcome = {},
  place: Place = {},
  status = 200,
): Promise<Response> => {
  const filter = readFilter(
    c,
    () => validate(ListSignupBlocks(), { limit: '50', ...place }),
    () => undefined,
  )
  if (filter.errors?.cursor) throw invalidCursor()
  const [list, { view, viewer }] = await Promise.all([
    filter.value ? listSignupBlocks(c.var, filter.value) : NONE,
    c.var.signedIn(),
  ])
  // The last of a page is gone.
  if (place.cursor && list.data.length === 0) {
    const { cursor: _, ...there } = place
    if (outcome.message) return blockedPage(c, outcome, there, status)
    return c.redirect(blockedAt({ ...c.req.query(), cursor: undefined }), 303)
  }
  const { SIGNUP_BLOCKED: setting } = c.var.config
  const { covers } = filter.value ?? {}
  const named = covers === undefined ? undefined : entriesOf(covers)
  const ofSetting = named
    ? setting.filter((entry) => named.includes(entry))
    : place.cursor || filter.errors
      ? []
      : setting
  const { covers: typed = '' } = place
  const unfit = filter.errors && wrong(view, [[typed, faultOfEntry(spellEntry(typed)) ?? 'no_entry']])
  const message = unfit ? { tone: 'danger' as const, title: unfit } : doneHere(c, view)
  return respond(
    c,
    <BlockedPage
      {...{ view, viewer, list, ofSetting, place, message }}
      {...outcome}
      errors={{ ...outcome.errors, ...(unfit && { covers: unfit }) }}
    />,
    { status: (filter.errors ? 422 : status) as 200 },
  )
}

/** A sentence for each kind of fault, with the first few that have it. */
function wrong({ texts: { blocked } }: View, faults: [typed: string, fault: Fault][]): string {
  const byFault = Object.entries(Object.groupBy(faults, ([, fault]) => fault))
  return byFault
    .map(([fault, those]) => blocked.wrong[fault as Fault](blocked.list(those.map(([typed]) => typed))))
    .join(' ')
}

/** What was done: the address of the page says how many, and which where it is one that names many. */
function doneHere(c: Context, { texts: { blocked } }: View): Outcome['message'] {
  const { entry = '', count = '', already = '' } = c.req.query()
  if (!/^\d+$/.test(count)) return undefined
  const isNamed = count === '1' && faultOfEntry(entry) === undefined && namesMany(entry)
  const what = isNamed ? blocked.list([entry]) : Number(count)
  const { done } = blocked
  const said = doneMessage(c, { blocked: done.blocked(what), unblocked: done.unblocked(what) })
  const text = /^[1-9]\d*$/.test(already) ? blocked.already(Number(already)) : undefined
  return said && { ...said, ...(text && { text }) }
}

/** No single address is put where a browser, or a log, would keep it. */
const doneAt = (done: string, count: number, entries: string[], place: Place = {}) => {
  const already = entries.length - count
  return blockedAt({
    ...place,
    done,
    count: `${count}`,
    ...(done === 'blocked' && already > 0 && { already: `${already}` }),
    ...(entries.length === 1 && namesMany(entries[0]!) && { entry: entries[0]! }),
  })
}

/** Who may not sign up. */
export const blockedPages = new Hono<PageEnv>()
  .use('*', signedInPage('signups:manage'))
  .get('/', limitedList, (c) => blockedPage(c, {}, placeIn(c.req.query())))
  .post('/', pasted, async (c) => {
    const { count, entries, wrong: faults } = readEntries(c.var.fields.entries ?? '')
    const { view } = await c.var.signedIn()
    const { blocked } = view.texts
    const fault =
      count === 0
        ? blocked.missing
        : count > MAX_SIGNUP_BLOCKS
          ? blocked.tooMany(count, MAX_SIGNUP_BLOCKS)
          : faults.size > 0
            ? wrong(view, [...faults])
            : undefined
    const work = async () => {
      // What was typed stands on the page alone, and in no log.
      if (fault) throw invalidInput([{ pointer: '/entries', code: 'invalid_entry', detail: FAULTS.no_entry }])
      const { added } = await changeSignupBlocks(c.var, { add: entries })
      return c.redirect(doneAt('blocked', added, entries), 303)
    }
    return submit(c, work, {
      page: BLOCKED_PAGE,
      field: 'entries',
      again: (outcome, status) =>
        blockedPage(c, { ...outcome, ...(fault && { errors: { entries: fault } }) }, {}, status),
    })
  })
  .post('/remove', ours, (c) => {
    const { entry = '' } = c.var.fields
    const place = placeIn(c.var.fields)
    const work = async () => {
      const { remove } = validate(UpdateSignupBlocks(), { remove: [entry] })
      const { removed } = await changeSignupBlocks(c.var, { remove: remove! })
      return c.redirect(doneAt('unblocked', removed, remove!, place), 303)
    }
    return submit(c, work, {
      page: BLOCKED_PAGE,
      again: async ({ message, errors }, status) => {
        const { view } = await c.var.signedIn()
        // There is no field that it could be said of.
        const title = Object.keys(errors ?? {}).length > 0 && wrong(view, [[entry, 'no_entry']])
        return blockedPage(c, { message: title ? { tone: 'danger', title } : message }, place, status)
      },
    })
  })
  .onError(
    whereUnread(
      async (c, { code }) => {
        if (code !== 'body_too_large') return undefined
        const { blocked } = (await c.var.signedIn()).view.texts
        const title = blocked.tooLarge(MOST_MEGABYTES, MAX_SIGNUP_BLOCKS)
        return { tone: 'danger', title, text: blocked.tooLargeHint }
      },
      (c, outcome, status) => blockedPage(c, outcome, {}, status),
    ),
  )
