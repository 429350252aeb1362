import { constants, high, low, type Sha } from './sha.ts'

/** 2^32: the carry from a low word into its high word. */
const CARRY = 0x1_0000_0000

const WH = new Int32Array(80)
const WL = new Int32Array(80)

/** FIPS 180-4 section 6.4.2. Each 64-bit word is two variables, `…h` and `…l`. */
export const sha512: Sha = {
  blockWords: 32,
  stateWords: 16,
  initial: () => Int32Array.from(constants().squares.flatMap((word) => [high(word), low(word)])),
  compress(out, state, block) {
    const { cubesHigh, cubesLow } = constants()
    schedule(block)
    let ah = state[0]!
    let al = state[1]!
    let bh = state[2]!
    let bl = state[3]!
    let ch = state[4]!
    let cl = state[5]!
    let dh = state[6]!
    let dl = state[7]!
    let eh = state[8]!
    let el = state[9]!
    let fh = state[10]!
    let fl = state[11]!
    let gh = state[12]!
    let gl = state[13]!
    let hh = state[14]!
    let hl = state[15]!
    for (let t = 0; t < 80; t++) {
      const s1h = ((eh >>> 14) | (el << 18)) ^ ((eh >>> 18) | (el << 14)) ^ ((el >>> 9) | (eh << 23))
      const s1l = ((el >>> 14) | (eh << 18)) ^ ((el >>> 18) | (eh << 14)) ^ ((eh >>> 9) | (el << 23))
      const choice = (el & fl) ^ (~el & gl)
      const t1 = (hl >>> 0) + (s1l >>> 0) + (choice >>> 0) + (cubesLow[t]! >>> 0) + (WL[t]! >>> 0)
      const t1h = (hh + s1h + ((eh & fh) ^ (~eh & gh)) + cubesHigh[t]! + WH[t]! + ((t1 / CARRY) | 0)) | 0
      const t1l = t1 | 0
      const s0h = ((ah >>> 28) | (al << 4)) ^ ((al >>> 2) | (ah << 30)) ^ ((al >>> 7) | (ah << 25))
      const s0l = ((al >>> 28) | (ah << 4)) ^ ((ah >>> 2) | (al << 30)) ^ ((ah >>> 7) | (al << 25))
      const majority = (al & bl) ^ (al & cl) ^ (bl & cl)
      const e = (dl >>> 0) + (t1l >>> 0)
      const a = (t1l >>> 0) + (s0l >>> 0) + (majority >>> 0)
      const nextAh = (t1h + s0h + ((ah & bh) ^ (ah & ch) ^ (bh & ch)) + ((a / CARRY) | 0)) | 0
      hh = gh
      hl = gl
      gh = fh
      gl = fl
      fh = eh
      fl = el
      eh = (dh + t1h + ((e / CARRY) | 0)) | 0
      el = e | 0
      dh = ch
      dl = cl
      ch = bh
      cl = bl
      bh = ah
      bl = al
      ah = nextAh
      al = a | 0
    }
    add(out, state, 0, ah, al)
    add(out, state, 2, bh, bl)
    add(out, state, 4, ch, cl)
    add(out, state, 6, dh, dl)
    add(out, state, 8, eh, el)
    add(out, state, 10, fh, fl)
    add(out, state, 12, gh, gl)
    add(out, state, 14, hh, hl)
  },
}

function schedule(block: Int32Array): void {
  for (let t = 0; t < 16; t++) {
    WH[t] = block[2 * t]!
    WL[t] = block[2 * t + 1]!
  }
  for (let t = 16; t < 80; t++) {
    const xh = WH[t - 15]!
    const xl = WL[t - 15]!
    const yh = WH[t - 2]!
    const yl = WL[t - 2]!
    const s0h = ((xh >>> 1) | (xl << 31)) ^ ((xh >>> 8) | (xl << 24)) ^ (xh >>> 7)
    const s0l = ((xl >>> 1) | (xh << 31)) ^ ((xl >>> 8) | (xh << 24)) ^ ((xl >>> 7) | (xh << 25))
    const s1h = ((yh >>> 19) | (yl << 13)) ^ ((yl >>> 29) | (yh << 3)) ^ (yh >>> 6)
    const s1l = ((yl >>> 19) | (yh << 13)) ^ ((yh >>> 29) | (yl << 3)) ^ ((yl >>> 6) | (yh << 26))
    const sum = (WL[t - 16]! >>> 0) + (WL[t - 7]! >>> 0) + (s0l >>> 0) + (s1l >>> 0)
    WL[t] = sum
    WH[t] = WH[t - 16]! + WH[t - 7]! + s0h + s1h + ((sum / CARRY) | 0)
  }
}

function add(out: Int32Array, state: Int32Array, at: number, wordHigh: number, wordLow: number): void {
  const sum = (state[at + 1]! >>> 0) + (wordLow >>> 0)
  out[at] = state[at]! + wordHigh + ((sum / CARRY) | 0)
  out[at + 1] = sum
}
