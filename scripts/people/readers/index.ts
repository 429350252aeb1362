import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { readCsv } from '../../../src/bulk/import/lines.ts'
import { auth0, firebase, keycloak } from './services.ts'
import { type Reader, type Row, readNdjson } from './source.ts'
import { betterAuth, django, fastapi, supabase } from './tables.ts'

/** Our own format: NDJSON, or CSV by the name of the file. */
const roster: Reader = (file) =>
  extname(file).toLowerCase() === '.csv' ? (readCsv(readFileSync(file, 'utf8')) as Row[]) : readNdjson(file)

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
