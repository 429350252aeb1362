import { failure, problemOf, RosterError } from './problems.ts'

export type Fetch = (request: Request) => Promise<Response>

/** A response, and its parsed JSON: for an error, its problem. */
export interface Answer {
  response: Response
  body: Record<string, unknown> | undefined
}

/** Sends a request. Throws RosterError `no_answer`, and whatever the caller aborted it with. */
export type Ask = (request: Request, limitMs?: number) => Promise<Answer>

const JSON_TYPE = /[/+]json\b/
/** HTML where JSON was requested comes from something in between: a captive portal, a proxy. */
const PAGE_TYPE = /^text\/html\b/

/**
 * Waits no longer than that for an answer. JSON is read whole in that time; what is none, as an export, is handed on as it
 * comes.
 */
export async function ask(fetch: Fetch, request: Request, limitMs: number): Promise<Answer> {
  const limit = new AbortController()
  const timer = setTimeout(() => limit.abort(), limitMs)
  const signal = AbortSignal.any([request.signal, limit.signal])
  try {
    const response = await fetch(new Request(request, { signal }))
    const type = response.headers.get('content-type') ?? ''
    const { ok } = response
    // A 304 has no body, and neither may the Response made from it.
    const isBare = response.status === 304 || (ok && !JSON_TYPE.test(type) && !PAGE_TYPE.test(type))
    if (isBare) return { response, body: undefined }
    const text = await response.text()
    let body: unknown
    try {
      body = JSON.parse(text)
    } catch (cause) {
      // Cut off, or not JSON at all.
      if (ok) throw cause
    }
    if (!ok) body = problemOf(response, body)
    const read = new Response(JSON.stringify(body), response)
    // An error without a body has been given one.
    read.headers.delete('content-length')
    return { response: read, body: body as Answer['body'] }
  } catch (cause) {
    if (request.signal.aborted) throw cause
    throw new RosterError(failure('no_answer', 'Roster did not answer.'), { cause })
  } finally {
    clearTimeout(timer)
  }
}
