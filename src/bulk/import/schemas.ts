import { decodeBase32IgnorePadding } from '@oslojs/encoding'
import * as z from 'zod'
import { DisplayName, details, EmailInput, Role } from '../../users/schemas.ts'
import { Id, TimeInput } from '../../values/ids.ts'
import { lazy, type Of } from '../../values/lazy.ts'

export const MAX_ROWS = 500
export const MAX_BYTES = 1024 * 1024
export const TYPES = ['application/x-ndjson', 'text/csv'] as const
export type Type = (typeof TYPES)[number]

const EARLIEST = Date.UTC(1990, 0)
/** RFC 4226 section 4, R6, asks for 128 bits; but many systems have issued ten bytes. */
const FEWEST_SEED_BYTES = 10
const MAX_SEED_BYTES = 128

const Seed = lazy(() =>
  z
    .string()
    .max(512)
    .transform((value, context) => {
      const seed = seedOf(value)
      if (seed) return seed
      context.addIssue({ code: 'custom', message: 'Is not a base32 seed.', params: { code: 'invalid_seed' } })
      return z.NEVER
    }),
)

function seedOf(text: string): Uint8Array | undefined {
  try {
    const seed = decodeBase32IgnorePadding(text.replace(/[\s=-]/g, '').toUpperCase())
    return seed.length >= FEWEST_SEED_BYTES && seed.length <= MAX_SEED_BYTES ? seed : undefined
  } catch {
    return undefined
  }
}

/** The only kind of factor that can be imported: TOTP as every app supports it. */
export const ImportedTotp = lazy(() =>
  z
    .strictObject({
      secret: Seed(),
      digits: z.literal(6).default(6),
      period: z.literal(30).default(30),
      algorithm: z.literal('SHA1').default('SHA1'),
    })
    .meta({ description: 'A standard authenticator app: a base32 secret, six digits, SHA-1.' }),
)

/** A line of an import. */
export const ImportedUser = lazy(() =>
  z
    .strictObject({
      email: EmailInput(),
      name: DisplayName()
        .optional()
        .meta({ description: 'Without it, the part of the address before the @.' }),
      role: Role()
        .default('user')
        .meta({ description: 'Above `user` only with `email_verified` and a recent login.' }),
      email_verified: z.boolean().default(false).meta({
        description: 'True: where they come from has proved the address.',
      }),
      created_at: TimeInput()
        .refine((value) => value >= EARLIEST, 'Is before 1990.')
        .optional()
        .meta({ description: 'When the account was made, where they come from: from 1990 on.' }),
      password_hash: z.string().max(2048).optional().meta({
        description: 'As the system that made it writes it; docs/import.md has the spellings.',
      }),
      disabled: z.boolean().default(false),
      factors: z.record(z.string(), z.unknown()).optional().meta({
        description:
          '`{"totp": {"secret": "…"}}`, only with `email_verified` and a recent login. Any other is left out, with a warning.',
      }),
      ...z.object(details()).partial().shape,
    })
    .meta({ id: 'ImportedUser' }),
)
export type ImportedUser = Of<typeof ImportedUser>

const flag = (description: string) =>
  z
    .stringbool({ truthy: ['true'], falsy: ['false'], case: 'sensitive' })
    .default(false)
    .meta({ override: { type: 'boolean' }, description })

export const ImportQuery = lazy(() =>
  z.strictObject({
    dry_run: flag('True: says what would become of each line, and changes nothing.'),
    include_erased: flag('True: imports people who were erased here, too.'),
  }),
)

const Flaws = lazy(() => z.array(z.object({ pointer: z.string(), code: z.string(), detail: z.string() })))

export const ImportResult = lazy(() =>
  z
    .object({
      data: z.array(
        z.object({
          line: z.int().meta({ description: 'Of the body, from 1 on; in a CSV the first has the names.' }),
          status: z.enum(['created', 'exists', 'invalid']).meta({
            description: '`exists`: there is an account already, and nothing about it was changed.',
          }),
          id: Id().optional().meta({ description: 'Of the account; none where a dry run would make it.' }),
          by: z
            .enum(['external_id', 'address'])
            .optional()
            .meta({ description: 'With `exists`: what matched.' }),
          needs_reset: z.literal(true).optional().meta({
            description: 'With `created`: the password is not verified here, so they choose another by mail.',
          }),
          errors: Flaws().optional().meta({ description: 'With `invalid`: what is wrong.' }),
          warnings: Flaws().optional().meta({ description: 'What was left out, or needs a look.' }),
        }),
      ),
    })
    .meta({ id: 'ImportResult' }),
)
export type ImportResult = Of<typeof ImportResult>
export type LineResult = ImportResult['data'][number]
