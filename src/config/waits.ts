/**
 * How long Roster waits for libSQL, and how often it retries. Here, because settings are checked against it.
 */
export const READ_TIMEOUT_MS = 1500
export const WRITE_TIMEOUT_MS = 3000
/** A request that gets no answer is sent once more. */
export const TRIES = 2
/** A statement that found the database busy has changed nothing, and is sent again. */
export const BUSY_RETRIES = 3
/** The pause between two sends, chosen at random. */
export const PAUSE_MS = { min: 20, max: 120 }

/** When a client that got a 503 may retry. */
export const RETRY_AFTER_SECONDS = 2

/**
 * A refresh may have taken effect on its first send, and yet be answered 503 after all other sends and the
 * read-back have timed out. A client that then retries when told to must still be within the grace period, or
 * it is taken for a thief.
 */
const LONGEST_WRITE_MS =
  TRIES * WRITE_TIMEOUT_MS + READ_TIMEOUT_MS + (TRIES - 1 + BUSY_RETRIES) * PAUSE_MS.max
export const LEAST_GRACE_SECONDS = Math.ceil(LONGEST_WRITE_MS / 1000 + RETRY_AFTER_SECONDS)
