import type { Resources } from '../context.ts'
import { log } from './log.ts'
import { Refusal, toAppError } from './problem.ts'

/** Whose file it is, for the log. */
interface Asked {
  origin: Pick<Resources['origin'], 'requestId'>
  actor: { sub: string; sid: string }
}

/**
 * Pieces of text as they are asked for: nothing is made before somebody reads it. By then the request has had its
 * line in the log, as a 200; where a piece fails the answer breaks off, and another line says why.
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
          // What is said here would be printed by the platform, so it says nothing of an upstream.
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
