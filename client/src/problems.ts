import type { components, paths } from './api.d.ts'

/** The codes of all problems that Roster has, by its document. */
type CodesIn<Operation> = Operation extends { responses: infer Responses }
  ? {
      [Status in keyof Responses]: Responses[Status] extends {
        content: { 'application/problem+json': { code?: infer Code } }
      }
        ? Code
        : never
    }[keyof Responses]
  : never
type OperationsOf<Path> = Path[keyof Path]
export type ProblemCode = NonNullable<CodesIn<OperationsOf<paths[keyof paths]>>>

/**
 * What this client itself says: `no_answer` where none came, or one that is not Roster's; `unexpected_answer` for an error
 * that has no code; `user_changed` where somebody else has signed in since, so that nobody acts as another.
 */
export type ClientCode = 'no_answer' | 'unexpected_answer' | 'user_changed'

/** RFC 9457, as Roster fills it in. `status` is 0 where no answer came. */
export type Problem = Omit<components['schemas']['Problem'], 'code' | 'request_id'> & {
  code: ProblemCode | ClientCode
  request_id?: string
}

/** What went wrong, by its code. */
export class RosterError extends Error {
  override readonly name = 'RosterError'
  readonly code: Problem['code']
  readonly status: number
  /** The whole document: `errors` of a form, or what else it has. */
  readonly problem: Problem
  /** In how many seconds it may be tried again, where Roster says so. */
  readonly retryAfterSeconds: number | undefined

  constructor(problem: Problem, options: ErrorOptions & { retryAfterSeconds?: number | undefined } = {}) {
    super(problem.detail, options)
    this.code = problem.code
    this.status = problem.status
    this.problem = problem
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

export const failure = (code: ClientCode, detail: string, status = 0): Problem => ({
  type: 'about:blank',
  title: detail,
  status,
  detail,
  code,
})

/** The problem of an answer, also of one that another made on the way: a proxy's page, an empty 502, JSON of its own. */
export const problemOf = ({ status }: Response, body: unknown): Problem => {
  const said = (body ?? {}) as Partial<Problem>
  return typeof said.code === 'string' && typeof said.status === 'number'
    ? (said as Problem)
    : failure('unexpected_answer', `The answer was ${status}, without a reason.`, status)
}

export const errorOf = (response: Response, body: unknown) =>
  new RosterError(problemOf(response, body), {
    retryAfterSeconds: Number(response.headers.get('retry-after')) || undefined,
  })

/** Roster's own word that nobody is signed in: the 401 of somebody on the way has no code, or is no problem of RFC 9457. */
export const isOwn401 = (response: Response, body: { code?: unknown } | undefined): boolean =>
  response.status === 401 &&
  body?.code !== 'unexpected_answer' &&
  /^application\/problem\+json\b/i.test(response.headers.get('content-type') ?? '')

interface Given<Data> {
  data?: Data | undefined
  error?: unknown
  response: Response
}

/** What a call has answered. Throws RosterError: `const me = await dataOf(roster.api.GET('/v1/users/me'))`. */
export async function dataOf<Data>(asked: Promise<Given<Data>>): Promise<NonNullable<Data>> {
  const { data, error, response } = await asked
  if (response.ok) return data as NonNullable<Data>
  throw errorOf(response, error)
}
