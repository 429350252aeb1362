import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { listen } from '../../scripts/local/process.ts'
import { makeCertificate } from './certificate.ts'

/** A mail as it was transmitted. */
export interface WiredMail {
  from: string
  to: string
  /** Whether it came over TLS. */
  isSecret: boolean
  raw: string
}

export interface MailServer {
  /**
   * `host:port` of a server without TLS, of one with TLS, of one without authentication, and of one that does not
   * speak SMTP.
   */
  plain: string
  tls: string
  bare: string
  liar: string
  /** Accepts connections, and never says anything. */
  mute: string
  /** Returns the mails to `?to=`, as JSON. */
  mails: string
}

export const ACCOUNT = { user: 'roster@mail', password: 'a p/ss%word:ü' }

/** The refusal for recipients whose name begins like this. */
const REFUSALS: Record<string, [status: number, text?: string]> = {
  nobody: [550, '5.1.1 There is nobody of that name'],
  busy: [451],
  relayed: [530],
  listed: [550, '5.7.1 Your address is on a list'],
}

class Refusal extends Error {
  responseCode: number
  constructor(responseCode: number, text = 'refused') {
    super(text)
    this.responseCode = responseCode
  }
}

/**
 * Real mail servers. The recipient's name decides what happens to a mail. `nobody` and `busy` are refused,
 * permanently and temporarily; `relayed` as if nobody had signed in; `listed` by a policy; `spam` and `unsigned` (by
 * a policy) once the mail has been sent. `leaves` closes the connection before the mail. `silent` and `drops` give no
 * answer after it; `silent` keeps the connection open. `once-` before any of them: only the first time.
 */
export async function startMailServer({ cert, key }: { cert: string; key: string } = makeCertificate()) {
  const mails: WiredMail[] = []
  const seen = new Set<string>()
  const fate = (to: string) => {
    const [, once, name] = /^(once-)?(\w+)/.exec(to) ?? []
    if (once && seen.has(to)) return undefined
    seen.add(to)
    return name
  }
  const open = (isSecret: boolean, isBare = false): SMTPServer => {
    const options: SMTPServerOptions = {
      secure: isSecret,
      hideSTARTTLS: true,
      allowInsecureAuth: true,
      authOptional: true,
      authMethods: ['LOGIN'],
      cert,
      key,
      disabledCommands: isBare ? ['AUTH'] : [],
      onAuth({ username, password }, _session, done) {
        const isRight = username === ACCOUNT.user && password === ACCOUNT.password
        done(isRight ? null : new Refusal(535), isRight ? { user: username } : undefined)
      },
      onMailFrom({ address }, _session, done) {
        done(address.startsWith('stranger@') ? new Refusal(553) : null)
      },
      onRcptTo({ address }, session, done) {
        const is = fate(address)
        if (is === 'leaves') return cut(session.id)
        done(is && REFUSALS[is] ? new Refusal(...REFUSALS[is]) : null)
        fates.set(session.id, is)
      },
      onData(stream, session, done) {
        const chunks: Buffer[] = []
        stream.on('data', (chunk: Buffer) => chunks.push(chunk))
        stream.on('end', () => {
          const is = fates.get(session.id)
          if (is === 'spam') return done(new Refusal(554))
          if (is === 'unsigned')
            return done(new Refusal(550, '5.7.26 Nothing proves that it is of your domain'))
          const { mailFrom, rcptTo } = session.envelope
          mails.push({
            from: (mailFrom as { address: string }).address,
            to: rcptTo[0]!.address,
            isSecret: session.secure,
            raw: Buffer.concat(chunks).toString(),
          })
          if (is === 'drops') return cut(session.id)
          if (is !== 'silent') done()
        })
      },
    }
    return new SMTPServer(options)
  }
  const fates = new Map<string, string | undefined>()
  const servers = [open(false), open(true), open(false, true)]
  const cut = (id: string) => {
    for (const server of servers)
      for (const connection of server.connections)
        if ((connection as unknown as { id: string }).id === id) {
          ;(connection as unknown as { _socket: { destroy(): void } })._socket.destroy()
        }
  }
  const ports = await Promise.all(servers.map((server) => listen(server.server)))
  for (const server of servers) server.on('error', () => {})
  // Talks without end, and never SMTP.
  const liar = createServer((socket) => {
    const endless = setInterval(() => socket.write(`220-${'x'.repeat(8000)}\r\n`), 1)
    socket.on('error', () => {})
    socket.on('close', () => clearInterval(endless))
  })
  const liarPort = await listen(liar)
  const mute = createServer((socket) => void socket.on('error', () => {}))
  const mutePort = await listen(mute)
  const web = createHttpServer((request, response) => {
    const to = new URL(request.url ?? '', 'http://mails').searchParams.get('to')
    response.end(JSON.stringify(mails.filter((mail) => mail.to === to)))
  })
  const webPort = await listen(web)
  const at: MailServer = {
    plain: `127.0.0.1:${ports[0]}`,
    tls: `localhost:${ports[1]}`,
    bare: `127.0.0.1:${ports[2]}`,
    liar: `127.0.0.1:${liarPort}`,
    mute: `localhost:${mutePort}`,
    mails: `http://127.0.0.1:${webPort}/`,
  }
  return {
    at,
    async close() {
      web.close()
      web.closeAllConnections()
      liar.close()
      mute.close()
      for (const server of servers) {
        for (const connection of server.connections)
          (connection as unknown as { _socket: { destroy(): void } })._socket.destroy()
        await new Promise<void>((resolve) => server.close(() => resolve()))
      }
    },
  }
}
