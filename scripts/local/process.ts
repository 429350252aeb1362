import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import type { Readable, Writable } from 'node:stream'

export interface ChildProcess {
  /** Settles when the process is gone, with its exit code. */
  exited: Promise<number>
  /** Everything written to standard output and standard error, line by line. */
  onLine(listener: (line: string) => void): void
  /** The last lines it wrote: shown if it ended by itself. */
  lastWords(): string
  close(): Promise<void>
  /** Ends it and everything it started, as a crash would (`kill -9`). */
  crash(): Promise<void>
}

/**
 * The shell between us and the program waits on a pipe that only we hold open. However we end (Ctrl-C, a crash, even
 * `kill -9`), the pipe closes and the program is told to end, so nothing is left behind.
 */
const SUPERVISOR =
  '"$@" 3<&- & child=$!; { read -r _ <&3; kill "$child" 2>/dev/null; } & exec 3<&-; wait "$child"'
const GRACE_MS = 5_000
const KEPT_LINES = 200

export function startProcess(command: string, args: string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  const child = spawn('/bin/sh', ['-c', SUPERVISOR, 'sh', command, ...args], {
    // A process group of its own: a Ctrl-C in the terminal reaches only us, and we end things in order.
    detached: true,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  })
  const lifeline = child.stdio[3] as Writable
  lifeline.on('error', () => {})

  const kept: string[] = []
  const listeners: Array<(line: string) => void> = [(line) => kept.push(line) > KEPT_LINES && kept.shift()]
  for (const stream of [child.stdout, child.stderr] as Readable[]) {
    eachLine(stream, (line) => listeners.map((tell) => tell(line)))
  }

  const killGroup = () => {
    try {
      if (child.pid) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // The whole group is gone already.
    }
  }
  child.once('exit', () => {
    lifeline.destroy()
    killGroup()
  })
  // `close` comes after `exit`, when its last output has been read too.
  const exited = once(child, 'close').then(([code]: Array<number | null>) => code ?? 1)

  return {
    exited,
    onLine: (listener) => void listeners.push(listener),
    lastWords: () => kept.join('\n'),
    async close() {
      lifeline.end()
      const timer = setTimeout(killGroup, GRACE_MS)
      await exited
      clearTimeout(timer)
    },
    async crash() {
      killGroup()
      await exited
    },
  }
}

function eachLine(stream: Readable, tell: (line: string) => void) {
  let rest = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    lines.forEach(tell)
  })
  stream.on('end', () => rest && tell(rest))
}

/** Calls `probe` until it stops throwing. If the process ends before that, throws what it last wrote. */
export async function untilReady<T>(
  child: ChildProcess,
  probe: () => Promise<T>,
  timeoutMs = 60_000,
): Promise<T> {
  let exitCode: number | undefined
  void child.exited.then((code) => {
    exitCode = code
  })
  const deadline = Date.now() + timeoutMs
  for (;;) {
    try {
      return await probe()
    } catch (cause) {
      if (exitCode !== undefined) throw new Error(`ended with code ${exitCode}\n${child.lastWords()}`)
      if (Date.now() > deadline) throw new Error(`did not answer in time\n${child.lastWords()}`, { cause })
    }
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

/** A free port on loopback: `preferred` if it is free, else any. */
export async function freePort(preferred = 0): Promise<number> {
  const server = createServer()
  const port = await listen(server, preferred)
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Listens on loopback, on `preferred` or, if that is taken, on any free port. Returns the port. */
export function listen(server: Server, preferred = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (preferred && error.code === 'EADDRINUSE') resolve(listen(server, 0))
      else reject(error)
    })
    server.listen(preferred, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address ? address.port : preferred)
    })
  })
}
