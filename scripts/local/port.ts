import { freePort } from './process.ts'

export const PORT = 8787

/** The port that was asked for, or an error; if none was, the usual one, or any if that is taken. */
export async function findPort(): Promise<number> {
  const asked = process.env.PORT
  const wanted = Number(asked || PORT)
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > 65_535) throw new Error('PORT is not a port.')
  const port = await freePort(wanted)
  if (asked && port !== wanted)
    throw new Error(
      `Port ${wanted} is taken, and PORT asks for it. Choose another, or leave PORT out for any.`,
    )
  return port
}

/**
 * A port for another server of the stack: the usual one or, if PORT was given, any, as several stacks that start
 * together would all find the usual one free.
 */
export const portBeside = (usual: number): Promise<number> => freePort(process.env.PORT ? 0 : usual)
