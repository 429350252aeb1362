import { requireOwnPassword } from '../passwords/service.ts'
import { type Acting, applyChange, byActor, type Decision } from './change.ts'
import { differences, softDeletion } from './manage.ts'
import type { UpdateMe } from './schemas.ts'

/** Other details of one's own account, as a decision for `changeUser`. */
export const updatingSelf =
  (input: UpdateMe): Decision =>
  (row) => {
    const details = differences(row, input)
    return Object.keys(details).length === 0 ? undefined : { action: 'user.updated', set: input, details }
  }

/** Leaving: soft, and on the user's own password. */
export async function deleteMe(acting: Acting, password: string): Promise<void> {
  const { actor, now } = acting
  const own = await requireOwnPassword(acting, actor, password)
  await applyChange(acting, byActor(actor, now), own.row, {
    ...softDeletion(now),
    alsoWrite: () => own.clearAttempts,
  })
}
