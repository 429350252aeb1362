import { extname } from 'node:path'
import { readCsv } from '../../../src/bulk/import/lines.ts'
import { fromExport, isExported } from './exported.ts'
import { auth0, firebase, keycloak } from './services.ts'
import { each, load, type Reader, readNdjson } from './source.ts'
import { betterAuth, django, fastapi, supabase } from './tables.ts'

/** Our own format: NDJSON, CSV if the file is named so, or the output of `npm run people:export`. */
const roster: Reader = (file) =>
  extname(file).toLowerCase() === '.csv'
    ? readCsv(load(file))
    : each(readNdjson(file), (row) => (isExported(row) ? fromExport(row) : row))

export const READERS: Readonly<Record<string, Reader>> = {
  roster,
  fastapi,
  django,
  supabase,
  'better-auth': betterAuth,
  firebase,
  keycloak,
  auth0,
}
