import { hkdfSync } from 'node:crypto'

/** The keys of one purpose, newest first: the first signs, all verify. */
export type Keyring = readonly [Uint8Array, ...Uint8Array[]]

export function keyring(secrets: string[], purpose: string): Keyring {
  const derive = (value: string) => new Uint8Array(hkdfSync('sha256', value, 'roster', purpose, 32))
  const [newest, ...others] = secrets.map(derive)
  if (!newest) throw new Error('a keyring without a key')
  return [newest, ...others]
}
