import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Distance } from './distance.ts'
import type { Growth } from './growth.ts'
import type { Hashing } from './hashing.ts'
import type { Ratio } from './ratios.ts'
import type { Size } from './size.ts'
import type { Trip } from './trips.ts'

/** The results of a run. They are kept beside this file; the report and the charts are made from them. */
export interface Results {
  date: string
  quick: boolean
  /** The commit that `--before` named. */
  before?: string
  machine: Record<'processor' | 'memory' | 'system' | 'load', string>
  versions: Record<string, string>
  ratios: Ratio[]
  trips: Trip[]
  /** By how many bytes the database grows with each operation. */
  bytes?: Record<string, number>
  growth: Growth[]
  size?: Size
  distance: Distance[]
  hashing: Hashing[]
}

const FILE = join(import.meta.dirname, 'results.json')

export const readResults = (): Partial<Results> =>
  existsSync(FILE) ? JSON.parse(readFileSync(FILE, 'utf8')) : {}

/** Figures with four digits: more would be noise, and differ in every run. */
export function writeResults(results: Results): void {
  const rounded = (_: string, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
  writeFileSync(FILE, `${JSON.stringify(results, rounded, 2)}\n`)
}
