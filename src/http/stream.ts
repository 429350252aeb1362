import type { Resources } from '../context.ts'
import { log } from './log.ts'
import { Refusal, toAppError } from './problem.ts'

/** Whose request it is, for the log. */
interface Asked {
  origin: Pick<Resources['origin'], 'requestId'>
  actor: { sub: string; sid: string }
}

/**
 * Streams pieces of text lazily: each is made when it is read. By then the request has been logged as a 200,
 * so if a piece fails, the answer breaks off and a second log line says why.
 */
export function toStream({ origin, actor }: Asked, pieces: AsyncGenerator<string>): ReadableStream {
  const encoder = new TextEncoder()
  let sent = 0
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          const { value, done } = await pieces.next()
          if (done) return controller.close()
          controller.enqueue(encoder.encode(value))
          sent += 1
        } catch (error) {
          const { status, code, cause } = toAppError(error)
          log(status >= 500 ? 'error' : 'warn', {
            code: 'export_failed',
            request_id: origin.requestId,
            actor: actor.sub,
            session: actor.sid,
            pieces: sent,
            why: code,
            reason: cause instanceof Refusal ? cause.reason : undefined,
            cause: status >= 500 ? cause : undefined,
          })
          // The platform prints this message, so it says nothing about an upstream.
          controller.error(new Error('The file breaks off here.'))
        }
      },
      async cancel() {
        await pieces.return(undefined)
      },
    },
    { highWaterMark: 0 },
  )
}
