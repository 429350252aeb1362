import type { FC } from 'hono/jsx'
import { Badge } from '../../pages/components.tsx'
import { toShortDay } from '../../pages/format.ts'
import type { View } from '../../pages/view.ts'
import type { ManagedUser } from '../../users/schemas.ts'

/** Badges for anything unusual about a user. An active, verified user has none. */
export const StateBadge: FC<{ view: View; user: ManagedUser }> = ({ view, user }) => {
  const { badge } = view.texts.console
  if (user.status === 'deleted') return <Badge>{badge.deleted}</Badge>
  if (user.status === 'disabled')
    return (
      <Badge tone="warn">
        {user.disabled_until
          ? badge.disabledUntil(toShortDay(view, Date.parse(user.disabled_until)))
          : badge.disabled}
      </Badge>
    )
  if (user.locked) return <Badge tone="danger">{badge.locked}</Badge>
  if (!user.email_verified) return <Badge tone="info">{badge.notVerified}</Badge>
  if (user.needs_reset) return <Badge tone="info">{badge.needsReset}</Badge>
  // A manager's account puts other people at risk, too.
  const hasNoFactor = user.role !== 'user' && user.second_factor === 'none'
  return hasNoFactor ? <Badge tone="info">{badge.noFactor}</Badge> : null
}
