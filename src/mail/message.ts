import { mailboxOf } from '../values/email.ts'
import type { Rendered } from './render.ts'

interface Message extends Rendered {
  from: string
  replyTo?: string | undefined
  to: string
  messageId: string
  /** In addition to those that every mail has. */
  headers: Record<string, string>
  sentAt: Date
}

/** The address of `address` or `Name <address>`, with its domain in ASCII, as it is sent. */
export const addressOf = (mailbox: string) => mailboxOf(/<([^<>]+)>\s*$/.exec(mailbox)?.[1] ?? mailbox)

/**
 * A mail as it is sent (RFC 5322), with both forms of its text. Bodies are base64, so every line is short
 * ASCII and begins with no dot. Whatever is not plain ASCII in a header is encoded (RFC 2047), so no text can
 * end a line.
 */
export function composeMessage({ messageId, sentAt, headers, ...mail }: Message): string {
  const boundary = `=_${crypto.randomUUID()}`
  const part = (type: string, text: string) => [
    `--${boundary}`,
    `Content-Type: text/${type}; charset=utf-8`,
    'Content-Transfer-Encoding: base64',
    '',
    ...linesOf(base64(text)),
  ]
  return [
    `From: ${mailboxHeader(mail.from)}`,
    `To: <${mail.to}>`,
    ...(mail.replyTo ? [`Reply-To: ${mailboxHeader(mail.replyTo)}`] : []),
    `Subject: ${encoded(mail.subject)}`,
    `Date: ${sentAt.toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${messageId}>`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${encoded(value)}`),
    'MIME-Version: 1.0',
    `Content-Type: multipart/alternative; boundary="${boundary}"`,
    '',
    ...part('plain', mail.text),
    ...part('html', mail.html),
    `--${boundary}--`,
    '',
  ].join('\r\n')
}

function mailboxHeader(mailbox: string): string {
  const [, quoted, plain] = /^(?:"([^"\\]*)"|([^"<>]*?))\s*<[^<>]+>$/.exec(mailbox) ?? []
  const name = (quoted ?? plain ?? '').trim()
  const address = `<${addressOf(mailbox)}>`
  if (!name) return address
  // On the line of the encoded word, the address would make it too long.
  return isPlain(name) ? `"${name.replace(/["\\]/g, '')}" ${address}` : `${encoded(name)}\r\n ${address}`
}

const isPlain = (text: string) => /^[\x20-\x7e]*$/.test(text) && !text.includes('=?')

/**
 * An encoded word holds whole characters, and its line has at most 76 (RFC 2047 sections 2 and 5). The
 * longest header name takes ten with its colon and space, which leaves 64 for the word.
 */
const MAX_BYTES_OF_WORD = 39

function encoded(text: string): string {
  if (isPlain(text) && text.length < 900) return text
  const words: string[] = []
  let word = ''
  for (const character of text) {
    if (new TextEncoder().encode(word + character).length > MAX_BYTES_OF_WORD) {
      words.push(word)
      word = ''
    }
    word += character
  }
  return [...words, word].map((one) => `=?utf-8?B?${base64(one)}?=`).join('\r\n ')
}

export const base64 = (text: string) => Buffer.from(text, 'utf8').toString('base64')

const linesOf = (text: string) => text.match(/.{1,76}/g) ?? ['']
