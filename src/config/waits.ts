/** How long Roster waits for libSQL, and how often it asks. Settings are held to it, so it stands with them. */
export const READ_TIMEOUT_MS = 1500
export const WRITE_TIMEOUT_MS = 3000
/** A request without an answer is sent once more. */
export const TRIES = 2
/** What found the database busy has changed nothing, and is sent again. */
export const BUSY_RETRIES = 3
/** Between two sends, at random. */
export const PAUSE_MS = { min: 20, max: 120 }

/** When whoever got a 503 may ask again. */
export const RETRY_AFTER_SECONDS = 2

/**
 * A refresh whose first send took effect may be told so by a 503 only after every other send has been waited for, and by
 * reading back. Whoever asks again then, when told to, has to be within the grace, or is taken for a thief.
 */
const LONGEST_WRITE_MS =
  TRIES * WRITE_TIMEOUT_MS + READ_TIMEOUT_MS + (TRIES - 1 + BUSY_RETRIES) * PAUSE_MS.max
export const LEAST_GRACE_SECONDS = Math.ceil(LONGEST_WRITE_MS / 1000 + RETRY_AFTER_SECONDS)
