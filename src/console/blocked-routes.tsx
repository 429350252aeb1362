import type { Context } from 'hono'
import { Hono } from '../http/hono.ts'
import { readUpload } from '../http/operation.ts'
import { invalidCursor, type List } from '../http/pagination.ts'
import { AppError, invalidInput } from '../http/problem.ts'
import { validate } from '../http/validate.ts'
import { carriedHere, carry } from '../pages/carried.ts'
import { form, sessionOf } from '../pages/forms.ts'
import { respond } from '../pages/respond.ts'
import { limitedList, type PageEnv, signedInPage } from '../pages/session.ts'
import { onUnreadableForm, submit } from '../pages/submit.ts'
import type { View } from '../pages/view.ts'
import { FAULTS, faultOfEntry, readEntries } from '../signup-blocks/entries.ts'
import { MAX_SIGNUP_BLOCKS } from '../signup-blocks/models.ts'
import { ListSignupBlocks, type SignupBlock, UpdateSignupBlocks } from '../signup-blocks/schemas.ts'
import { changeSignupBlocks, listSignupBlocks } from '../signup-blocks/service.ts'
import { entriesOf, spellEntry } from '../values/blocked.ts'
import {
  BLOCKED_PAGE,
  type BlockedMessage,
  type BlockedOutcome,
  BlockedPage,
  type Place,
} from './blocked.tsx'
import { readFilter } from './input.ts'

/** Room for the largest possible list with its remarks, as a form sends it. */
const MAX_MEGABYTES = 1
const pasted = form(sessionOf, readUpload(MAX_MEGABYTES * 1024 * 1024))
const ours = form(sessionOf)

/** What was done, and to which entry if it was one. */
interface Done {
  done: 'blocked' | 'unblocked'
  entry?: string
  count: string
  already?: string
  /** Sent by a button beside the list. */
  isOfList?: string
}

/** What was done, of what a page has carried here. */
const doneIn = ({ done, count = '0', ...more }: Record<string, string>): Done | undefined =>
  done === 'blocked' || done === 'unblocked' ? { done, count, ...more } : undefined

const placeIn = ({ cursor, covers }: Record<string, string>): Place => ({
  ...(covers && { covers }),
  ...(cursor && { cursor }),
})

/**
 * The address of a place in the list. What it names, and the entry at which a page ends, are sealed in it,
 * because browsers and logs keep addresses. One that is too old leads to the first page.
 */
async function placeAt(c: Context<PageEnv>, place: Place, done?: Done): Promise<string> {
  const sealed = { ...place, ...done }
  const carried = Object.keys(sealed).length > 0 ? await carry(c, BLOCKED_PAGE, sealed) : undefined
  return carried ? `${BLOCKED_PAGE}?${new URLSearchParams({ carried })}` : BLOCKED_PAGE
}

const NONE: List<SignupBlock> = {
  data: [],
  pagination: { limit: 50, next_cursor: null, prev_cursor: null, total: null },
}

interface More {
  status?: number
  done?: Done | undefined
}

/**
 * The page at a place. Where that place is gone, the message of what was done or refused is shown on the
 * first page.
 */
const blockedPage: typeof pageAt = async (c, outcome = {}, place = {}, more = {}) => {
  try {
    return await pageAt(c, outcome, place, more)
  } catch (error) {
    const isGone = error instanceof AppError && error.code === invalidCursor().code
    if (!isGone || !(outcome.message ?? more.done)) throw error
    const { cursor: _, ...there } = place
    return pageAt(c, outcome, there, more)
  }
}

const pageAt = async (
  c: Context<PageEnv>,
  outcome: BlockedOutcome = {},
  place: Place = {},
  { status = 200, done }: More = {},
): Promise<Response> => {
  const filter = readFilter(
    c,
    () => validate(ListSignupBlocks(), { limit: '50', ...place }),
    () => undefined,
  )
  if (filter.errors?.cursor) throw invalidCursor()
  const [list, left, { view, viewer }] = await Promise.all([
    filter.value ? listSignupBlocks(c.var, filter.value, { isCounted: !place.covers }) : NONE,
    done?.done === 'unblocked' ? stillBlocking(c, done.entry!) : [],
    c.var.signedIn(),
  ])
  // The last entry of this page has been removed.
  if (place.cursor && list.data.length === 0) {
    const { cursor: _, ...there } = place
    if (outcome.message) return blockedPage(c, outcome, there, { status })
    return c.redirect(await placeAt(c, there, done), 303)
  }
  const { SIGNUP_BLOCKED: setting } = c.var.config
  const { covers } = filter.value ?? {}
  const ofSetting =
    covers !== undefined
      ? setting.filter((entry) => entriesOf(covers).includes(entry))
      : place.cursor || filter.errors
        ? []
        : setting
  const unfit = filter.errors && unfitText(view, place.covers ?? '')
  const { blocked } = view.texts
  const toField = {
    tone: 'danger' as const,
    title: blocked.notFound,
    text: <a href="#covers">{blocked.change}</a>,
  }
  const { next_cursor, prev_cursor } = list.pagination
  const cursors = [undefined, next_cursor, prev_cursor].filter((cursor) => cursor !== null)
  const addresses = new Map(
    await Promise.all(
      cursors.map(async (cursor) => {
        const there = await placeAt(c, placeIn({ covers: place.covers ?? '', cursor: cursor ?? '' }))
        return [cursor, `${there}#list`] as const
      }),
    ),
  )
  const at = ({ cursor }: { cursor?: string }) => addresses.get(cursor)!
  return respond(
    c,
    <BlockedPage
      {...{ view, viewer, list, ofSetting, place, at }}
      message={unfit ? toField : done && messageOf(view, done, left)}
      {...outcome}
      errors={{ ...outcome.errors, ...(unfit && { covers: unfit }) }}
    />,
    { status: (filter.errors ? 422 : status) as 200 },
  )
}

/** What still blocks an entry after it was taken off the list. */
async function stillBlocking(c: Context<PageEnv>, entry: string): Promise<string[]> {
  const { data } = await listSignupBlocks(c.var, { limit: 100, covers: entry })
  const around = entriesOf(entry)
  const ofSetting = c.var.config.SIGNUP_BLOCKED.filter((one) => around.includes(one))
  return [...new Set([...data.map((row) => row.entry).filter((one) => one !== entry), ...ofSetting])]
}

/** Why a typed entry is invalid, and how entries are written. */
function unfitText({ texts: { blocked } }: View, typed: string): string {
  const fault = faultOfEntry(spellEntry(typed)) ?? 'no_entry'
  return `${blocked.wrong[fault](typed)} ${blocked.mend[fault]}`
}

function messageOf({ texts: { blocked } }: View, done: Done, left: string[]): BlockedMessage {
  const { entry, isOfList } = done
  const { done: texts } = blocked
  const [count, already] = [Number(done.count), Number(done.already ?? 0)]
  const beside = { isOfList: isOfList === 'yes' }
  if (done.done === 'unblocked') {
    const said =
      count > 0 ? { title: texts.unblocked(entry!), again: entry } : { title: texts.notThere(entry!) }
    const tone = left.length > 0 ? 'warn' : count > 0 ? undefined : 'info'
    const text = left.length > 0 && blocked.still(left)
    return { ...said, ...beside, ...(tone && { tone }), ...(text && { text }) }
  }
  const none = count === 0 && { tone: 'info' as const }
  if (entry) return { title: (none ? texts.alreadyBlocked : texts.blocked)(entry), ...none, ...beside }
  return {
    title: texts.blocked(count),
    ...none,
    ...(already > 0 && { text: blocked.already(already) }),
    ...beside,
  }
}

/** The list of who may not sign up. */
export const blockedPages = new Hono<PageEnv>()
  .use('*', signedInPage('signups:manage'))
  .get('/', limitedList, async (c) => {
    const { values: { covers = '', cursor = c.req.query('cursor') ?? '', ...done } = {} } =
      await carriedHere(c)
    const place = placeIn({ covers, cursor })
    return blockedPage(c, {}, place, { done: doneIn(done) })
  })
  .post('/', pasted, async (c) => {
    const { again, entries: typed = '' } = c.var.fields
    const { count, entries, wrong } = readEntries(again ?? typed)
    const { view } = await c.var.signedIn()
    const { blocked } = view.texts
    const fault =
      count === 0
        ? blocked.missing
        : count > MAX_SIGNUP_BLOCKS
          ? blocked.tooMany(count, MAX_SIGNUP_BLOCKS)
          : undefined
    const work = async () => {
      // What was typed appears only on the page, never in a log.
      if (fault || wrong.length > 0)
        throw invalidInput([{ pointer: '/entries', code: 'invalid_entry', detail: FAULTS.no_entry }])
      const { added } = await changeSignupBlocks(c.var, { add: entries })
      const done = { done: 'blocked', count: `${added}`, already: `${entries.length - added}` } as const
      const [entry, ...others] = entries
      const one = others.length === 0 && { entry: entry! }
      if (again === undefined) return c.redirect(await placeAt(c, {}, { ...done, ...one }), 303)
      const there = await placeAt(c, placeIn(c.var.fields), { ...done, ...one, isOfList: 'yes' })
      return c.redirect(`${there}#message`, 303)
    }
    return submit(c, work, {
      page: BLOCKED_PAGE,
      field: 'entries',
      again: ({ errors, values }, status) =>
        blockedPage(
          c,
          {
            message: {
              tone: 'danger',
              title: blocked.nothing,
              text: <a href="#entries">{blocked.change}</a>,
            },
            errors: { ...errors, ...(fault && { entries: fault }) },
            wrong,
            ...(values && { values: { entries: again ?? typed } }),
          },
          {},
          { status },
        ),
    })
  })
  .post('/look_up', limitedList, ours, async (c) => {
    const place = placeIn({ covers: (c.var.fields.covers ?? '').trim() })
    if (!ListSignupBlocks().safeParse(place).success) return blockedPage(c, {}, place)
    return c.redirect(`${await placeAt(c, place)}#list`, 303)
  })
  .post('/remove', ours, (c) => {
    const { entry = '' } = c.var.fields
    const place = placeIn(c.var.fields)
    const work = async () => {
      const { remove } = validate(UpdateSignupBlocks(), { remove: [entry] })
      const { removed } = await changeSignupBlocks(c.var, { remove: remove! })
      const done = { done: 'unblocked', count: `${removed}`, entry: remove![0]!, isOfList: 'yes' } as const
      return c.redirect(`${await placeAt(c, place, done)}#message`, 303)
    }
    return submit(c, work, {
      page: BLOCKED_PAGE,
      again: async ({ message, errors }, status) => {
        const { view } = await c.var.signedIn()
        // The form has no field to show this error at.
        const title = Object.keys(errors ?? {}).length > 0 && unfitText(view, entry)
        return blockedPage(c, { message: title ? { tone: 'danger', title } : message }, place, { status })
      },
    })
  })
  .onError(
    onUnreadableForm(
      async (c, { code }) => {
        if (code !== 'body_too_large') return undefined
        const { blocked } = (await c.var.signedIn()).view.texts
        const title = blocked.tooLarge(MAX_MEGABYTES, MAX_SIGNUP_BLOCKS)
        return { tone: 'danger', title, text: blocked.tooLargeHint }
      },
      (c, { message }, status) => blockedPage(c, { message }, {}, { status }),
    ),
  )
