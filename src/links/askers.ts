import type { Config } from '../config/main.ts'
import { openSealed, seal } from '../crypto/sealed.ts'

/**
 * Whoever asks for a mail gets this token, at once and whether or not a mail is sent: the code in the mail
 * only works with it. So nobody can use up the tries of somebody else's code, or replace it by asking for
 * another. It names the one-time token whose link and code are in the mail.
 */
export const makeRequestToken = ({ keys }: Config, tokenId: string) =>
  seal(keys.one_time_token, `request.${tokenId}`)

/** The id of the one-time token that it names. */
export const openRequestToken = ({ keys }: Config, requestToken: string): string | undefined =>
  /^request\.([0-9a-f-]{36})$/.exec(openSealed(keys.one_time_token, requestToken) ?? '')?.[1]
