import { membersOf, membersOfDetails } from '../activity/details.ts'
import { toManagedUser } from '../users/schemas.ts'
import { timeOfId, toTime } from '../values/ids.ts'
import type { WebhookDelivery } from './models.ts'

const MAX_BODY_BYTES = 16 * 1024

type Told = Pick<
  WebhookDelivery,
  'id' | 'event_id' | 'user_id' | 'caused_by' | 'type' | 'event_details' | 'snapshot'
>

/** The same for every send of one row of history, to whichever address. */
export const messageIdOf = ({ event_id }: Pick<WebhookDelivery, 'event_id'>) => `msg_${event_id}`

/**
 * The body to send. It is built from what was fixed when the delivery was owed, so every try sends the same.
 */
export function bodyOf(delivery: Told): string {
  const { id, event_id, user_id, caused_by, type, snapshot } = delivery
  const user = user_id === null ? null : snapshot === null ? { id: user_id } : userIn(snapshot)
  const write = (details: object | null) =>
    JSON.stringify({
      type,
      timestamp: toTime(timeOfId(event_id)),
      data: { event_id, sequence: id, user, actor_id: caused_by, details },
    })
  const body = write(detailsOf(delivery))
  return Buffer.byteLength(body) <= MAX_BODY_BYTES ? body : write(null)
}

/** As a manager sees them, without the managers' notes, which no snapshot contains. */
function userIn(snapshot: string) {
  const { admin_metadata: _, ...user } = toManagedUser({ ...JSON.parse(snapshot), admin_metadata: null })
  return user
}

/** The documented members of the details, except the name that somebody has given to a device of theirs. */
function detailsOf({ type, event_details }: Told): object | null {
  const known = membersOfDetails(type)
  const isDevice = /^(factor|passkey)/.test(type)
  const members = Object.entries(membersOf({ details: event_details }) ?? {}).filter(
    ([name]) => known.includes(name) && !(isDevice && name === 'name'),
  )
  return members.length === 0 ? null : Object.fromEntries(members)
}
