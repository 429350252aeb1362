import type { Config } from '../config/main.ts'
import { type Connection, connectOut } from '../http/outbound.ts'
import { addressOf, base64, composeMessage } from './message.ts'
import { HEADERS, type Mail, MailRefused, NO_ANSWER, REFUSES_ALL, type Send } from './sending.ts'

type Settings = Pick<Config, 'ISSUER' | 'MAIL_REPLY_TO'> & { MAIL_FROM: string; SMTP_URL: string }

interface Reply {
  status: number
  /** Its lines, without the status. */
  lines: string[]
}

/** At most this much of a reply is read; a real one has a few lines. */
const MAX_LINES = 100

/**
 * Sends through a mail server (RFC 5321), over TLS from the first byte (RFC 8314), or unencrypted on this
 * machine. One mail per connection: no connection outlives a request. An error before the end of the data is
 * sent counts as no answer, and the mail is tried again. From then on the server may have accepted the mail:
 * without a reply its outcome is unknown, and only a refusal says that it was not accepted.
 */
export function overSmtp(settings: Settings): Send {
  async function send(mail: Mail): Promise<void> {
    const { hostname, port, protocol, username, password } = new URL(settings.SMTP_URL)
    const isTls = protocol === 'smtps:'
    const where = { hostname: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 465), isTls }
    let connection: Connection | undefined
    let isHandedOver = false
    try {
      connection = await connectOut('smtp', where)
      await greet(connection, new URL(settings.ISSUER).hostname, {
        user: decodeURIComponent(username),
        password: decodeURIComponent(password),
      })
      await handOver(connection, settings, mail, () => {
        isHandedOver = true
      })
    } catch (error) {
      if (error instanceof MailRefused || isHandedOver) throw error
      throw new MailRefused(NO_ANSWER, false, { cause: error })
    } finally {
      connection?.close()
    }
  }
  return Object.assign(send, { knowsRepeats: false })
}

async function greet(connection: Connection, name: string, account: { user: string; password: string }) {
  await expectReply(connection, 220)
  const { lines } = await command(connection, `EHLO ${name}`, 250)
  if (!account.user) return
  const [, offered = ''] = lines.map((line) => /^AUTH[ =](.*)$/i.exec(line)).find(Boolean) ?? []
  const ways = offered.toUpperCase().split(/\s+/)
  if (ways.includes('PLAIN')) {
    await command(connection, `AUTH PLAIN ${base64(`\0${account.user}\0${account.password}`)}`, 235)
  } else if (ways.includes('LOGIN')) {
    await command(connection, 'AUTH LOGIN', 334)
    await command(connection, base64(account.user), 334)
    await command(connection, base64(account.password), 235)
  } else {
    throw new MailRefused('no_auth', false)
  }
}

async function handOver(connection: Connection, settings: Settings, mail: Mail, beforeTheEnd: () => void) {
  const from = addressOf(settings.MAIL_FROM)
  await command(connection, `MAIL FROM:<${from}>`, 250)
  // A refusal is only about this mail: another recipient may be accepted.
  await command(connection, `RCPT TO:<${mail.to}>`, 250, { isAboutMail: true })
  await command(connection, 'DATA', 354)
  await connection.write(
    composeMessage({
      ...mail,
      from: settings.MAIL_FROM,
      replyTo: settings.MAIL_REPLY_TO,
      // The same at every attempt, so a mail that arrives twice can be recognised as one.
      messageId: `${mail.id}@${from.slice(from.lastIndexOf('@') + 1)}`,
      headers: HEADERS,
      sentAt: new Date(),
    }),
  )
  beforeTheEnd()
  await connection.write('.\r\n')
  await expectReply(connection, 250, { isAboutMail: true })
  // The mail is accepted: whether the server hears QUIT does not matter.
  await connection.write('QUIT\r\n').catch(() => {})
}

interface Judging {
  /**
   * A permanent refusal (5xx) is final for this mail. Not if it is about our account or server
   * (`REFUSES_ALL`): somebody can fix that.
   */
  isAboutMail?: boolean
}

/**
 * The enhanced status (RFC 3463 section 3.8) of a refusal by policy: our IP address is on a blocklist, we may
 * not relay, or our domain's records do not match, which is judged by the header From once the mail has been
 * sent. Somebody can fix that, too.
 */
const FOR_A_POLICY = /^5\.7\.\d/

async function command(connection: Connection, line: string, wanted: number, judging?: Judging) {
  await connection.write(`${line}\r\n`)
  return expectReply(connection, wanted, judging)
}

/** Throws `MailRefused` for any other reply. A recipient may also be accepted with 251. */
async function expectReply(connection: Connection, wanted: number, { isAboutMail = false }: Judging = {}) {
  const reply = await readReply(connection)
  if (reply.status === wanted || (wanted === 250 && reply.status === 251)) return reply
  const isOfUs = REFUSES_ALL.includes(reply.status) || FOR_A_POLICY.test(reply.lines[0]!)
  const isFinal = isAboutMail && reply.status >= 500 && !isOfUs
  throw new MailRefused(String(reply.status), isFinal)
}

/** RFC 5321 section 4.2.1: every line but the last has a hyphen after its status. */
async function readReply(connection: Connection): Promise<Reply> {
  const lines: string[] = []
  for (;;) {
    const [, status, mark, text] = /^([2-5]\d\d)([ -]?)(.*)$/.exec(await connection.readLine()) ?? []
    if (!status || lines.length === MAX_LINES) throw new Error('the mail server does not speak SMTP')
    lines.push(text ?? '')
    if (mark !== '-') return { status: Number(status), lines }
  }
}
