import { noRecentLogin } from '../../access/guards.ts'
import { outranks } from '../../access/permissions.ts'
import type { InputError } from '../../http/problem.ts'
import type { Claims } from '../../sessions/access-tokens.ts'
import type { users } from '../../users/models.ts'
import { normalizeEmail } from '../../values/email.ts'
import { flaw, type Line } from './lines.ts'
import type { ImportedUser } from './schemas.ts'

/** Users found by address or external id. */
export type Known = Pick<
  typeof users.$inferSelect,
  'id' | 'email_normalized' | 'external_id' | 'deleted_at' | 'email_verified_at'
>

export type Verdict =
  | { status: 'new' }
  | { status: 'exists'; id: string; by: 'external_id' | 'address'; warnings?: InputError[] }
  | { status: 'invalid'; errors: InputError[] }

const CONFLICT: Verdict = {
  status: 'invalid',
  errors: [
    flaw('', 'conflict', 'Its address and external id belong to different users, or to an earlier line.'),
  ],
}

/** Existing users: by external id all, even deleted ones; by address only those who are not deleted. */
export function knownBy(known: readonly Known[]) {
  const byExternalId = new Map(known.map((one) => [one.external_id, one]))
  const byAddress = new Map(
    known.filter((one) => one.deleted_at === null).map((one) => [one.email_normalized, one]),
  )
  return { byExternalId, byAddress }
}

/**
 * Somebody signed up with the address without proving it; people must decide which of the two accounts stays.
 */
const UNPROVED: InputError[] = [
  flaw(
    '/email',
    'address_unproved',
    'The account here has not proved the address, and may belong to another person.',
  ),
]

/** Whether a user already has an account. An import never changes one. */
export function findThere(
  {
    email,
    email_verified,
    external_id = null,
  }: Pick<ImportedUser, 'email' | 'email_verified' | 'external_id'>,
  { byExternalId, byAddress }: ReturnType<typeof knownBy>,
): Verdict {
  const named = external_id === null ? undefined : byExternalId.get(external_id)
  const addressed = byAddress.get(normalizeEmail(email))
  if (named) {
    const isOther = addressed !== undefined && addressed.id !== named.id
    return isOther ? CONFLICT : { status: 'exists', id: named.id, by: 'external_id' }
  }
  if (!addressed) return { status: 'new' }
  const hasOtherName = external_id !== null && addressed.external_id !== null
  if (hasOtherName) return CONFLICT
  const isUnproved = email_verified && addressed.email_verified_at === null
  return { status: 'exists', id: addressed.id, by: 'address', ...(isUnproved && { warnings: UNPROVED }) }
}

const MEANWHILE: Verdict = {
  status: 'invalid',
  errors: [flaw('', 'try_again', 'Somebody had its address or external id for a moment. Send it again.')],
}

/**
 * The account that kept a user from being made. It may be gone by the time a lost answer is asked for again.
 */
export function findInTheWay(user: ImportedUser, there: ReturnType<typeof knownBy>): Verdict {
  const found = findThere(user, there)
  return found.status === 'new' ? MEANWHILE : found
}

/** An erased user must not come back by an older list. */
const ERASED: Verdict = {
  status: 'invalid',
  errors: [flaw('', 'erased', 'Was erased here. include_erased=true imports them all the same.')],
}

/** Who imports, and whether their login is recent. */
interface By {
  actor: Claims
  now: number
  isRecent: () => boolean
}

/** The verdict on each line, in order. */
export function judgeLines(
  lines: readonly Line[],
  known: readonly Known[],
  { isErased, ...by }: By & { isErased: (user: ImportedUser) => boolean },
): Verdict[] {
  const there = knownBy(known)
  const seen = new Set<string>()
  return lines.map((line) => {
    if (line.errors) return { status: 'invalid', errors: line.errors }
    const { user } = line
    const names = [
      `address ${normalizeEmail(user.email)}`,
      ...(user.external_id ? [`external id ${user.external_id}`] : []),
    ]
    if (names.some((name) => seen.has(name))) return CONFLICT
    const found = findThere(user, there)
    // An erased line does not reserve its address or external id, so a later line may use them.
    if (found.status === 'new' && isErased(user)) return ERASED
    for (const name of names) seen.add(name)
    if (found.status !== 'new') return found
    const errors = mayNotCome(user, line.seed !== undefined, by)
    return errors.length > 0 ? { status: 'invalid', errors } : found
  })
}

function mayNotCome(
  { role, email_verified, created_at }: ImportedUser,
  hasFactor: boolean,
  { actor, now, isRecent }: By,
): InputError[] {
  const errors: InputError[] = []
  if (created_at !== undefined && created_at > now)
    errors.push(flaw('/created_at', 'in_the_future', 'Is in the future.'))
  const powers = [...(role === 'user' ? [] : ['/role']), ...(hasFactor ? ['/factors'] : [])]
  for (const pointer of powers) {
    if (!email_verified) errors.push(flaw(pointer, 'address_not_verified', 'Needs a verified address.'))
    else if (pointer === '/role' && !outranks(actor.role, role))
      errors.push(flaw(pointer, 'outranked', 'That takes a higher rank than yours.'))
    else if (!isRecent()) errors.push(flaw(pointer, noRecentLogin(actor).code, 'Needs a recent login.'))
  }
  return errors
}
