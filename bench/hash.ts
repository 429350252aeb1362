import { randomBytes, scrypt } from 'node:crypto'

/** A hash with the parameters of src/passwords/hashing.ts, and nothing else. */
export const hash = () =>
  new Promise<Uint8Array>((resolve, reject) =>
    scrypt(
      'seven brown foxes read',
      randomBytes(16),
      32,
      { N: 2 ** 15, r: 8, p: 3, maxmem: 2 ** 26 },
      (error, key) => (error ? reject(error) : resolve(key)),
    ),
  )
