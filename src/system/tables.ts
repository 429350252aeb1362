import { is } from 'drizzle-orm'
import { SQLiteTable } from 'drizzle-orm/sqlite-core'
import * as activity from '../activity/models.ts'
import * as apiKeys from '../api-keys/models.ts'
import * as challenges from '../challenges/models.ts'
import * as cleanup from '../cleanup/models.ts'
import * as database from '../database/models.ts'
import * as factors from '../factors/models.ts'
import * as idempotency from '../idempotency/models.ts'
import * as identities from '../identities/models.ts'
import * as invitations from '../invitations/models.ts'
import * as links from '../links/models.ts'
import * as mail from '../mail/models.ts'
import * as oauth from '../oauth/models.ts'
import * as passkeys from '../passkeys/models.ts'
import * as sessions from '../sessions/models.ts'
import * as signupBlocks from '../signup-blocks/models.ts'
import * as throttle from '../throttle/models.ts'
import * as users from '../users/models.ts'
import * as webhooks from '../webhooks/models.ts'
import * as system from './models.ts'

const MODELS = [
  ...[
    activity,
    apiKeys,
    challenges,
    cleanup,
    database,
    factors,
    idempotency,
    identities,
    invitations,
    links,
    mail,
    oauth,
    passkeys,
  ],
  ...[sessions, signupBlocks, system, throttle, users, webhooks],
]

/** Every table that this version knows. A test compares them with what the migrations create. */
export const TABLES = MODELS.flatMap((models) => Object.values(models)).filter((model) =>
  is(model, SQLiteTable),
)

/** Tables that Drizzle has no models for. */
export const SEARCH_TABLES = ['users_fts', 'names_fts', 'reasons_fts']
