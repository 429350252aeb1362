import wasm from '@phi-ag/argon2/argon2.wasm'
import type { Argon2 } from './schemes.ts'

/** The compiled reference implementation; the package's own script counts characters instead of bytes. */
interface Exports {
  memory: WebAssembly.Memory
  _initialize: () => void
  malloc: (length: number) => number
  argon2_hash: (
    passes: number,
    memoryKib: number,
    lanes: number,
    ...rest: [
      password: number,
      passwordLength: number,
      salt: number,
      saltLength: number,
      digest: number,
      digestLength: number,
      encoded: 0,
      encodedLength: 0,
      type: number,
      version: number,
    ]
  ) => number
}

const isArgon2 = (exports: object): exports is Exports => 'argon2_hash' in exports

const TYPES = { i: 1, id: 2 } as const

/** Argon2 (RFC 9106), in one piece. Its memory is allocated for this one hash, and released with it. */
export async function argon2(hash: Argon2, password: Uint8Array): Promise<Uint8Array> {
  const { passes, memoryKib, lanes, salt, digest, type, version } = hash
  const { exports: argon } = await WebAssembly.instantiate(wasm)
  if (!isArgon2(argon)) throw new Error('not Argon2')
  argon._initialize()
  const allocate = (length: number) => argon.malloc(Math.max(1, length))
  const [passwordAt, saltAt, digestAt] = [password.length, salt.length, digest.length].map(allocate) as [
    number,
    number,
    number,
  ]
  const memory = () => new Uint8Array(argon.memory.buffer)
  memory().set(password, passwordAt)
  memory().set(salt, saltAt)
  const fault = argon.argon2_hash(
    passes,
    memoryKib,
    lanes,
    passwordAt,
    password.length,
    saltAt,
    salt.length,
    digestAt,
    digest.length,
    0,
    0,
    TYPES[type],
    version,
  )
  if (fault !== 0) throw new Error(`argon2 answered ${fault}`)
  return memory().slice(digestAt, digestAt + digest.length)
}
