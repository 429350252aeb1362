import { createHash } from 'node:crypto'

/** SHA-256, as base64url: 43 characters. */
export const digestOf = (text: string) => createHash('sha256').update(text).digest('base64url')
