import type { components, paths } from './api.d.ts'

/** The codes of all of Roster's problems, from its API document. */
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
 * The client's own codes: `no_answer` if there was no answer, or one that is not Roster's;
 * `unexpected_answer` for an error without a code; `user_changed` if somebody else has signed in since, so
 * that nobody acts as another user.
 */
export type ClientCode = 'no_answer' | 'unexpected_answer' | 'user_changed'

/** RFC 9457, as Roster fills it in. `status` is 0 where no answer came. */
export type Problem = Omit<components['schemas']['Problem'], 'code' | 'request_id'> & {
  code: ProblemCode | ClientCode
  request_id?: string
}

/** An error, by its code. */
export class RosterError extends Error {
  override readonly name = 'RosterError'
  readonly code: Problem['code']
  readonly status: number
  /** The whole problem document: `errors` of a form, and any other members. */
  readonly problem: Problem
  /** After how many seconds to retry, if Roster says so. */
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

/**
 * The problem in a response, including one that something in between made: a proxy's page, an empty 502,
 * other JSON.
 */
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

/**
 * Whether Roster itself says that nobody is signed in: a 401 from something in between has no code, or is not
 * an RFC 9457 problem.
 */
export const isOwn401 = (response: Response, body: { code?: unknown } | undefined): boolean =>
  response.status === 401 &&
  body?.code !== 'unexpected_answer' &&
  /^application\/problem\+json\b/i.test(response.headers.get('content-type') ?? '')

interface Given<Data> {
  data?: Data | undefined
  error?: unknown
  response: Response
}

/** The data of a call. Throws RosterError: `const me = await dataOf(roster.api.GET('/v1/users/me'))`. */
export async function dataOf<Data>(asked: Promise<Given<Data>>): Promise<NonNullable<Data>> {
  const { data, error, response } = await asked
  if (response.ok) return data as NonNullable<Data>
  throw errorOf(response, error)
}
