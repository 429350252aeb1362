import {
  compact,
  each,
  fullName,
  type Imported,
  isAhead,
  isTrue,
  listIn,
  objectOf,
  type Reader,
  type Row,
  readTable,
  textOf,
  timeOf,
} from './source.ts'

/** If the table has this column, an empty cell means false: some tools write it so. */
const disabledOf = (row: Row) => ('is_active' in row ? !isTrue(row.is_active) : undefined)

/** The table of the FastAPI template (SQLModel), and of projects made from it. */
export const fastapi: Reader = (file) =>
  each(readTable(file), (row) => ({
    email: textOf(row.email),
    name: textOf(row.full_name ?? row.name),
    external_id: textOf(row.id),
    password_hash: textOf(row.hashed_password ?? row.password_hash),
    created_at: timeOf(row.created_at),
    disabled: disabledOf(row),
    email_verified: row.is_verified === undefined ? undefined : isTrue(row.is_verified),
    admin_metadata: compact({ superuser: isTrue(row.is_superuser) }),
  }))

/** Django's `auth_user`, as the table or as `manage.py dumpdata auth.user` writes it. */
export const django: Reader = (file) =>
  each(readTable(file), (given) => {
    const row = (given.fields as Row | undefined) ?? given
    return {
      email: textOf(row.email),
      name: fullName(row.first_name, row.last_name) ?? textOf(row.username),
      external_id: textOf(given.pk ?? row.id),
      password_hash: textOf(row.password),
      created_at: timeOf(row.date_joined),
      disabled: disabledOf(row),
      admin_metadata: compact({
        username: textOf(row.username),
        staff: isTrue(row.is_staff),
        superuser: isTrue(row.is_superuser),
      }),
    }
  })

/** `auth.users` of Supabase. Deleted and anonymous users are left out. */
export const supabase: Reader = (file) =>
  each(
    readTable(file).filter(
      ({ value }) => textOf(value.deleted_at) === undefined && !isTrue(value.is_anonymous),
    ),
    (row) => {
      const metadata = objectOf(row.raw_user_meta_data)
      return {
        email: textOf(row.email),
        name: textOf(metadata?.full_name ?? metadata?.name),
        external_id: textOf(row.id),
        password_hash: textOf(row.encrypted_password),
        // `confirmed_at` also covers the phone; old exports have only that.
        email_verified:
          textOf('email_confirmed_at' in row ? row.email_confirmed_at : row.confirmed_at) !== undefined,
        created_at: timeOf(row.created_at),
        disabled: textOf(row.banned_until) !== undefined && isAhead(row.banned_until),
        metadata,
        admin_metadata: objectOf(row.raw_app_meta_data),
      }
    },
  )

/** The tables `user` and `account` of better-auth, both in one JSON object. The hash is in `account`. */
export const betterAuth: Reader = (file) => {
  const [user, account] = [listIn(file, 'user'), listIn(file, 'account').map(({ value }) => value)]
  const ofUser = (row: Row) => textOf(row.userId ?? row.user_id)
  const isOfPassword = (row: Row) => (row.providerId ?? row.provider_id) === 'credential'
  const passwords = new Map(account.filter(isOfPassword).map((row) => [ofUser(row), textOf(row.password)]))
  return each(
    user,
    (row): Imported => ({
      email: textOf(row.email),
      name: textOf(row.name),
      external_id: textOf(row.id),
      password_hash: passwords.get(textOf(row.id)),
      email_verified: isTrue(row.emailVerified ?? row.email_verified),
      created_at: timeOf(row.createdAt ?? row.created_at),
      disabled: isTrue(row.banned) && isAhead(row.banExpires ?? row.ban_expires),
      admin_metadata: compact({ role: row.role === 'user' ? undefined : textOf(row.role) }),
    }),
  )
}
