import * as z from 'zod'
import { listOf, pageQuery } from '../http/pagination.ts'
import { NewPassword, Password } from '../passwords/schemas.ts'
import { MAX_FAILURES_IN_A_ROW } from '../throttle/limits.ts'
import { isEmail, normalizeEmail, shownEmail } from '../values/email.ts'
import { Id, Time, TimeInput, toTime, toTimeOrNull } from '../values/ids.ts'
import { LANGUAGES, type Language } from '../values/languages.ts'
import { lazy, type Of } from '../values/lazy.ts'
import { AnyMetadata, MetadataInput, toMetadata } from '../values/metadata.ts'
import { line, name, searched, text, wholeNumber } from '../values/text.ts'
import { type ManagedProfile, type Profile, ROLES, STATES, type Role as UserRole } from './models.ts'

export const EmailInput = lazy(() =>
  text(320)
    .transform((value) => value.trim())
    .refine(isEmail, { message: 'Is not an e-mail address.', params: { code: 'invalid_email' } })
    .transform(shownEmail)
    .meta({ format: 'email', example: 'ada@example.com' }),
)

export const DisplayName = lazy(() => name(100).meta({ example: 'Ada Lovelace' }))

export const TermsVersion = lazy(() =>
  text(50, 1).meta({
    description:
      'The `TERMS_VERSION` that its user has agreed to, where the deployment has terms. Without it they are asked by the pages, at the next sign-in.',
  }),
)

const Locale = lazy(() =>
  z.enum(Object.keys(LANGUAGES) as [Language, ...Language[]]).meta({
    description: 'The language of pages and mails; null: the one each request asks for.',
  }),
)

export const Role = lazy(() => z.enum(ROLES))
const State = lazy(() => z.enum(STATES))

const ExternalId = lazy(() =>
  text(255, 1)
    .regex(/^(?! )[^\p{C}\p{Zl}\p{Zp}]+(?<! )$/u, {
      error: 'Has characters that cannot be seen, or blanks around it.',
    })
    .meta({ override: { pattern: undefined }, example: 'crm-4711' }),
)

/** What those who manage users may set, besides name, address and role. */
export const details = () => ({
  locale: Locale().nullable(),
  external_id: ExternalId().nullable().meta({
    description: 'Their id in another system. Unique, even after they are deleted.',
  }),
  metadata: MetadataInput(),
  admin_metadata: MetadataInput(),
})

/** What everybody who may see a user sees. */
export const User = lazy(() =>
  z
    .object({
      id: Id(),
      email: z.string(),
      name: z.string(),
      role: Role(),
      status: State(),
      email_verified: z.boolean(),
      locale: Locale().nullable(),
      metadata: AnyMetadata().meta({ description: "The user's own: they read it and change it." }),
      version: z.int().meta({ description: 'Rises with every change; the ETag has it.' }),
      created_at: Time(),
      updated_at: Time(),
      last_login_at: Time().nullable().meta({
        description:
          'Changes without a new version. `GET /v1/users/me` may answer a cached former time, unless asked with `Cache-Control: no-cache`.',
      }),
    })
    .meta({ id: 'User' }),
)
export type User = Of<typeof User>

/** By the number in a user's `factors`. */
const SECOND_FACTORS = ['none', 'totp', 'passkey', 'both'] as const

/** What those who manage users see as well. */
export const ManagedUser = lazy(() =>
  User()
    .extend({
      locked: z
        .enum(['password', 'totp', 'both'])
        .nullable()
        .meta({
          description: `What ${MAX_FAILURES_IN_A_ROW} failures in a row have locked; null where nothing is.`,
        }),
      second_factor: z.enum(SECOND_FACTORS).meta({
        description:
          'What there is beside the password: an authenticator app, passkeys, or both. Like `locked`, it changes without a new version.',
      }),
      needs_reset: z.boolean().meta({
        description:
          'Came with a password that cannot be verified here; true until another is set, or it is removed.',
      }),
      external_id: z.string().nullable(),
      admin_metadata: AnyMetadata().meta({ description: 'Only for those who manage users.' }),
      disabled_reason: z.string().nullable(),
      disabled_until: Time().nullable(),
      deleted_at: Time().nullable(),
      earlier_email: z.string().optional().meta({
        description:
          'A deleted user, read singly, has the earliest former address whose owner can still undo the change.',
      }),
    })
    .meta({ id: 'ManagedUser' }),
)
export type ManagedUser = Of<typeof ManagedUser>
export const ManagedUserList = lazy(() => listOf(ManagedUser()).meta({ id: 'ManagedUserList' }))

export const CreateUser = lazy(() =>
  z
    .strictObject({
      email: EmailInput(),
      password: NewPassword()
        .optional()
        .meta({ description: 'Without it, the user chooses one by the link in their mail.' }),
      name: DisplayName(),
      role: Role().default('user'),
      ...z.object(details()).partial().shape,
      notify: z.boolean().default(true).meta({ description: 'False: the user gets no mail.' }),
    })
    .meta({ id: 'CreateUser' }),
)
export type CreateUser = Of<typeof CreateUser>

/** What you may change about yourself. It has no role, so a request cannot promote its sender. */
export const UpdateMe = lazy(() =>
  z
    .strictObject({ name: DisplayName(), locale: Locale().nullable(), metadata: MetadataInput() })
    .partial()
    .refine((value) => Object.keys(value).length > 0, { message: 'Changes nothing.' })
    .meta({ id: 'UpdateMe', minProperties: 1, example: { name: 'Ada King' } }),
)
export type UpdateMe = Of<typeof UpdateMe>

/** What those who manage users may change about them. */
export const UpdateUser = lazy(() =>
  z
    .strictObject({
      email: EmailInput(),
      name: DisplayName(),
      role: Role(),
      ...details(),
      revoke_old: z.boolean().meta({
        description:
          'For administrators, with `email`: a thief has the old address. It gets no link that undoes the change, and every way in is removed. Without mail the password stays, as nobody could set another: if the thief knows it, disable the account instead. Their open invitations are withdrawn, and services that they answer for or have changed are shut out until somebody takes them over and sets a new secret or keys.',
      }),
    })
    .partial()
    .refine((value) => Object.keys(value).length > 0, { message: 'Changes nothing.' })
    .refine((value) => value.revoke_old === undefined || value.email !== undefined, {
      path: ['revoke_old'],
      message: 'Needs email.',
    })
    .meta({ id: 'UpdateUser', minProperties: 1, example: { name: 'Ada King' } }),
)
export type UpdateUser = Of<typeof UpdateUser>

export const DeleteMe = lazy(() =>
  z
    .strictObject({
      password: Password().optional().meta({ description: 'Of the account; left out where it has none.' }),
    })
    .meta({ id: 'DeleteMe' }),
)
export const DisableUser = lazy(() =>
  z
    .strictObject({
      reason: line(500).meta({ example: 'Left the company' }),
      until: TimeInput().optional().meta({ description: 'When it ends by itself; without it, never.' }),
    })
    .meta({ id: 'DisableUser' }),
)
export type DisableUser = Of<typeof DisableUser>

const flag = (description: string) =>
  z
    .stringbool({ truthy: ['true'], falsy: ['false'], case: 'sensitive' })
    .default(false)
    .meta({ override: { type: 'boolean' }, description })

export const DeleteUserQuery = lazy(() =>
  z.strictObject({
    hard: flag('True: for good, with every personal datum. Needs the permission `users:purge`.'),
  }),
)

export const RestoreUserQuery = lazy(() =>
  z.strictObject({
    earlier_email: flag(
      'True: with the `earlier_email` that the deleted user has. The account goes back to whoever reads mail there, and they choose another password: this undoes a takeover.',
    ),
  }),
)

export const SORTS = ['created_at', 'email', 'name'] as const
const Sort = lazy(() => z.enum(SORTS.flatMap((sort) => [sort, `-${sort}`] as const)))

/** Rows further down need the cursor: an offset reads everything it skips. */
export const DEEPEST_ROW_BY_PAGE = 10_000
const SEARCH_MIN_LENGTH = 3

/** Each has its own index, in order of creation, and a list can use only one of them. */
const NARROWING = ['email_verified', 'locked', 'needs_reset', 'second_factor'] as const

/** Refuses filters that cannot be combined, because no index serves them together. */
export function assertNarrowed(
  {
    q,
    sort,
    ...query
  }: { q?: string | undefined; sort: string; role?: UserRole | undefined } & {
    [name in 'created_from' | 'created_to' | 'external_id' | (typeof NARROWING)[number]]?: unknown
  },
  context: z.RefinementCtx,
): void {
  const refuse = (name: string, message: string) =>
    context.addIssue({ code: 'custom', path: [name], message })
  const given = NARROWING.filter((name) => query[name] !== undefined)
  if (q !== undefined || !sort.endsWith('created_at'))
    for (const name of ['created_from', 'created_to', ...given] as const)
      if (query[name] !== undefined) refuse(name, 'Needs sort=created_at or -created_at, and no q.')
  if (query.external_id !== undefined)
    for (const name of [...(q === undefined ? [] : ['q']), ...given])
      refuse(name, 'Not allowed with external_id.')
  for (const name of given.slice(1)) refuse(name, `Not allowed with ${given[0]}.`)
  if (query.second_factor !== undefined && (query.role ?? 'user') === 'user')
    refuse('second_factor', 'Needs role=manager or role=admin.')
}

export const ListUsers = lazy(() =>
  z
    .strictObject({
      q: searched(100)
        .refine((value) => [...value].length >= SEARCH_MIN_LENGTH, {
          message: `Needs at least ${SEARCH_MIN_LENGTH} characters.`,
          params: { code: 'too_small' },
        })
        .optional()
        .meta({
          minLength: SEARCH_MIN_LENGTH,
          description: 'A part of the name or of the e-mail address; `alv` finds Älva.',
        }),
      email: EmailInput().transform(normalizeEmail).optional().meta({ description: 'The whole address.' }),
      external_id: ExternalId().optional().meta({ description: 'The whole of it; not with `q`.' }),
      role: Role().optional(),
      status: State().optional().meta({
        description: 'Without it, all but the deleted. `deleted` needs the permission `users:delete`.',
      }),
      created_from: TimeInput().optional().meta({
        description: 'Made from this time on; by `created_at`, and not with `q`.',
      }),
      created_to: TimeInput().optional().meta({
        description: 'Made before this time; by `created_at`, and not with `q`.',
      }),
      email_verified: z.enum(['true', 'false']).optional().meta({
        description: 'Whether the address is confirmed; by `created_at`, and not with `q`.',
      }),
      locked: z.literal('true').optional().meta({
        description:
          'Only those whose password or authenticator app is locked; by `created_at`, and not with `q`.',
      }),
      needs_reset: z.literal('true').optional().meta({
        description:
          'Only those whose imported password cannot be verified; by `created_at`, and not with `q`.',
      }),
      second_factor: z.literal('none').optional().meta({
        description:
          'Only those without one; with `role=manager` or `role=admin`, by `created_at`, and not with `q`.',
      }),
      sort: Sort().default('-created_at').meta({ description: 'With `q`, only by `created_at`.' }),
      page: wholeNumber(1, 1_000_000)
        .optional()
        .meta({
          description: `For paging by number, down to row ${DEEPEST_ROW_BY_PAGE}; not with \`cursor\`.`,
        }),
      ...pageQuery(),
    })
    .refine((query) => !(query.page !== undefined && query.cursor !== undefined), {
      path: ['page'],
      message: 'Give page or cursor, not both.',
    })
    .refine((query) => query.q === undefined || query.sort.endsWith('created_at'), {
      path: ['sort'],
      message: 'A search is sorted by created_at or -created_at.',
    })
    .superRefine(assertNarrowed),
)
export type ListUsers = Of<typeof ListUsers>

/** What everybody who may see a user sees. An allow-list: a new column is private until it is named here. */
export const toUser = (row: Profile): User => ({
  id: row.id,
  email: row.email,
  name: row.name,
  role: row.role,
  status: row.state,
  email_verified: row.email_verified_at !== null,
  locale: (row.locale ?? null) as Language | null,
  metadata: toMetadata(row.metadata),
  version: row.version,
  created_at: toTime(row.created_at),
  updated_at: toTime(row.updated_at),
  last_login_at: toTimeOrNull(row.last_login_at),
})

function lockedOf({ failed_logins, failed_factors }: Profile): ManagedUser['locked'] {
  const [password, totp] = [failed_logins >= MAX_FAILURES_IN_A_ROW, failed_factors >= MAX_FAILURES_IN_A_ROW]
  return password && totp ? 'both' : password ? 'password' : totp ? 'totp' : null
}

export const toManagedUser = (row: ManagedProfile, earlierEmail?: string): ManagedUser => ({
  ...toUser(row),
  locked: lockedOf(row),
  second_factor: SECOND_FACTORS[row.factors as 0 | 1 | 2 | 3],
  needs_reset: row.needs_reset === 1,
  external_id: row.external_id,
  admin_metadata: toMetadata(row.admin_metadata),
  disabled_reason: row.disabled_reason,
  disabled_until: toTimeOrNull(row.disabled_until),
  deleted_at: toTimeOrNull(row.deleted_at),
  ...(earlierEmail !== undefined && { earlier_email: earlierEmail }),
})
