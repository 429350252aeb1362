import * as z from 'zod'
import { listOf, pageQuery } from '../http/pagination.ts'
import { spellCovered, spellEntry } from '../values/blocked.ts'
import { Time } from '../values/ids.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { text } from '../values/text.ts'
import { FAULTS, faultOfEntry, faultOfNewEntry } from './entries.ts'

const MAX_LENGTH = 320
/** As many as fit in a body, unless all of them are of the greatest length. */
const MAX_BLOCKS_AT_ONCE = 500

const Entry = (faultOf = faultOfEntry, spell = spellEntry) =>
  text(MAX_LENGTH, 1)
    .transform(spell)
    .refine((entry) => faultOf(entry) === undefined, {
      error: ({ input }) => FAULTS[faultOf(input as string)!],
      params: { code: 'invalid_entry' },
    })

/** Without duplicates. */
const Entries = (faultOf = faultOfEntry) =>
  z
    .array(Entry(faultOf))
    .min(1)
    .max(MAX_BLOCKS_AT_ONCE)
    .transform((entries) => [...new Set(entries)])

export const UpdateSignupBlocks = lazy(() =>
  z
    .strictObject({
      add: Entries(faultOfNewEntry).meta({
        description:
          'Addresses (`name+anything@` with `name@`), domains with their subdomains, networks such as `192.0.2.0/24`, up to /8 and, of IPv6, /16; an IPv6 address alone is its /64. Existing entries stay as they are.',
      }),
      remove: Entries().meta({ description: 'Unknown ones are skipped.' }),
    })
    .partial()
    .refine((value) => Object.keys(value).length > 0, { message: 'Changes nothing.' })
    .refine(({ add = [], remove = [] }) => !add.some((entry) => remove.includes(entry)), {
      message: 'Adds and removes the same entry.',
    })
    .meta({ id: 'UpdateSignupBlocks' }),
)
export type UpdateSignupBlocks = Of<typeof UpdateSignupBlocks>

export const ListSignupBlocks = lazy(() =>
  z.strictObject({
    ...pageQuery(),
    covers: Entry(faultOfEntry, spellCovered).optional().meta({
      description: 'An address, a domain or a network: only the entries that block it, without the setting.',
    }),
  }),
)
export type ListSignupBlocks = Of<typeof ListSignupBlocks>

export const SignupBlock = lazy(() =>
  z.object({ entry: z.string(), created_at: Time() }).meta({ id: 'SignupBlock' }),
)
export type SignupBlock = Of<typeof SignupBlock>
export const SignupBlockList = lazy(() => listOf(SignupBlock()).meta({ id: 'SignupBlockList' }))
