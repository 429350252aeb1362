import type { CaughtMail } from '../../scripts/local/mailbox.ts'

/** The code in a mail; empty if it has none. */
export const codeIn = ({ text }: Pick<CaughtMail, 'text'>) => /code\b.*: (\d{8})$/im.exec(text)?.[1] ?? ''
