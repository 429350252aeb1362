import { readdirSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** What a claimant answers to whoever connects. */
type Answer = 'claiming' | 'claimed' | 'gone'

const PREFIX = 'lock.'

/**
 * Claims the directory this process is in, until the process ends in any way; false if another process has it. Each
 * claimant listens on its own socket before it looks for others, so of two that come at once at least one sees the
 * other: the one with the greater name gives way, and the other waits until it is gone or has claimed. Nobody removes
 * a socket that somebody listens on, so two can never have the claim at once.
 */
export async function claimDirectory(): Promise<boolean> {
  // A short name, in this directory: systems allow about a hundred bytes.
  const own = `${PREFIX}${process.pid}`
  let answer: Answer = 'claiming'
  rmSync(own, { force: true })
  const server = createServer((socket) => socket.on('error', () => {}).end(answer))
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(own, resolve).unref())

  for (const other of readdirSync('.').filter((name) => name.startsWith(PREFIX) && name !== own)) {
    let heard = await knock(other)
    while (heard === 'claiming' && own < other) {
      await delay(20)
      heard = await knock(other)
    }
    if (heard === 'gone') rmSync(other, { force: true })
    else {
      server.close()
      return false
    }
  }
  answer = 'claimed'
  return true
}

function knock(name: string): Promise<Answer> {
  return new Promise((resolve) => {
    let heard = ''
    connect(name)
      .setEncoding('utf8')
      .on('data', (text) => {
        heard += text
      })
      .on('end', () => resolve(heard as Answer))
      .on('error', () => resolve('gone'))
  })
}
