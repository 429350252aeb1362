import { membersOf, membersOfDetails } from '../activity/details.ts'
import { toManagedUser } from '../users/schemas.ts'
import { timeOfId, toTime } from '../values/ids.ts'
import type { WebhookDelivery } from './models.ts'

const MAX_BODY_BYTES = 16 * 1024

type Told = Pick<
  WebhookDelivery,
  'id' | 'event_id' | 'user_id' | 'caused_by' | 'type' | 'event_details' | 'snapshot'
>

/** The same for a row of history however often it is sent, and at however many addresses. */
export const messageIdOf = ({ event_id }: Pick<WebhookDelivery, 'event_id'>) => `msg_${event_id}`

/** What is sent: made of what was fixed when it was owed, so that every try says the same. */
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

/** As somebody who manages sees them, without the notes of those who manage, which are in no snapshot. */
function userIn(snapshot: string) {
  const { admin_metadata: _, ...user } = toManagedUser({ ...JSON.parse(snapshot), admin_metadata: null })
  return user
}

/** Of the details those that the API document names, but for the name that somebody has given a device of theirs. */
function detailsOf({ type, event_details }: Told): object | null {
  const known = membersOfDetails(type)
  const isDevice = /^(factor|passkey)/.test(type)
  const members = Object.entries(membersOf({ details: event_details }) ?? {}).filter(
    ([name]) => known.includes(name) && !(isDevice && name === 'name'),
  )
  return members.length === 0 ? null : Object.fromEntries(members)
}
