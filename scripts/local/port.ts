import { freePort } from './process.ts'

export const PORT = 8787

/** The port that was asked for, or an error; else the usual one, or any when that is taken. */
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
