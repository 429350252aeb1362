import { and, eq } from 'drizzle-orm'
import type { Resources } from '../context.ts'
import { build } from '../database/statements.ts'
import type { Claims } from '../sessions/access-tokens.ts'
import { tokenIsLive } from '../sessions/revocation.ts'
import { byActor, changeUser } from './change.ts'
import { users } from './models.ts'

/** Chooses the language of one's pages and mails. It changes nothing that others see, so it leaves no history. */
export async function changeLocale({ db, now }: Resources, actor: Claims, locale: string): Promise<void> {
  await db.writeBatch({
    locale: build
      .update(users)
      .set({ locale })
      .where(and(eq(users.id, actor.sub), tokenIsLive(actor, now))),
  })
}

/** Ends all sessions but the one that asks, and every token with them. */
export async function endOtherSessions(resources: Resources, actor: Claims): Promise<void> {
  await changeUser(resources, byActor(actor, resources.now), actor.sub, () => ({
    action: 'sessions.ended',
    set: {},
    endsTokens: true,
    endsSessions: { reason: 'ended', exceptId: actor.sid },
  }))
}
