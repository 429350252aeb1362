import type { Imported, Row } from './source.ts'

/** Whether it is a line written by `npm run people:export`. */
export const isExported = (row: Row) => 'id' in row && 'version' in row

/** A user exported by another deployment. Ids are not taken over. */
export function fromExport({ email, name, role, email_verified, created_at, status, ...row }: Row): Imported {
  const { external_id, locale, metadata, admin_metadata, password_hash } = row
  const kept = { external_id, locale, metadata, admin_metadata, password_hash }
  const given = Object.entries(kept).filter(([, value]) => value !== null && value !== undefined)
  return {
    ...{ email, name, role, email_verified, created_at, disabled: status === 'disabled' },
    ...Object.fromEntries(given),
  }
}
