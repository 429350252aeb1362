import type { Context } from 'hono'
import { AppError } from '../http/problem.ts'
import { againAt } from './again.ts'
import { carry } from './carried.ts'
import { failingPage, fieldErrors, problemText } from './failing.tsx'
import { assertShowable, noteProblem } from './respond.ts'
import type { PageEnv } from './session.ts'

/** The result of a form: a message, what was typed, and the errors by field. */
export interface Outcome {
  message?: { tone?: 'danger' | 'warn' | 'info'; title: string; text?: string } | undefined
  values?: Record<string, string>
  errors?: Record<string, string>
}

/** What was typed, except passwords and form tokens. It stays when a form is refused. */
const typed = (fields: Record<string, string>) =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !/(password|token)$/.test(name)))

/**
 * Does what a form asks for. If it succeeds, answers 303 to the page that says so, or the page that `work`
 * returns. If it is refused, shows the page again with what was typed. If it needs a recent login, the user
 * confirms who they are first, and comes back to `page` with what was typed.
 *
 * @param field the field for problems that name none.
 */
export async function submit(
  c: Context<PageEnv>,
  work: () => Promise<unknown>,
  to: {
    page: string
    /** Left out if `work` returns the answer. */
    done?: string
    again: (outcome: Outcome, status: number) => Response | Promise<Response>
    field?: string
  },
): Promise<Response> {
  try {
    const answer = await work()
    return answer instanceof Response ? answer : c.redirect(to.done ?? to.page, 303)
  } catch (error) {
    assertShowable(c, error)
    if (error.code === 'reauthentication_required')
      return c.redirect(againAt(to.page, await carry(c, to.page, typed(c.var.fields))), 303)
    const { view } = await c.var.signedIn()
    const { common } = view.texts
    const errors = error.errors
      ? fieldErrors(view, error)
      : to.field
        ? { [to.field]: problemText(view, error) }
        : {}
    const message =
      Object.keys(errors).length > 0
        ? { tone: 'danger' as const, title: common.check, text: common.checkHint }
        : { tone: 'danger' as const, title: problemText(view, error) }
    return to.again({ message, errors, values: typed(c.var.fields) }, error.status)
  }
}

/** Does what a button of a page asks for. If it fails, the page says why, by a code in its URL. */
export async function orExplain(
  c: Context,
  page: string,
  work: () => Response | Promise<Response>,
): Promise<Response> {
  try {
    return await work()
  } catch (error) {
    assertShowable(c, error)
    return c.redirect(`${page}?problem=${error.code}`, 303)
  }
}

/**
 * The message for a word in the URL, which anybody may have written there: never an inherited member of the
 * object.
 */
export const messageFor = <T>(said: Record<string, T>, word = ''): T | undefined =>
  Object.hasOwn(said, word) ? said[word] : undefined

/** What was just done, according to the URL, as a message. */
export function doneMessage(c: Context, sentences: Record<string, string>): Outcome['message'] {
  const title = messageFor(sentences, c.req.query('done'))
  return title === undefined ? undefined : { title }
}

/**
 * For `onError` of a form that could not be read, so that its fields are unknown: the page says what is
 * wrong.
 */
export const onUnreadableForm =
  (
    said: (c: Context<PageEnv>, problem: AppError) => Promise<Outcome['message']>,
    page: (c: Context<PageEnv>, outcome: Outcome, status: number) => Response | Promise<Response>,
  ) =>
  async (error: Error, c: Context<PageEnv>): Promise<Response> => {
    const message = error instanceof AppError ? await said(c, error) : undefined
    if (!(error instanceof AppError) || !message) return failingPage(error, c)
    noteProblem(c, error)
    return page(c, { message }, error.status)
  }
