import type { FC } from 'hono/jsx'
import { Badge } from '../../pages/components.tsx'
import { toShortDay } from '../../pages/format.ts'
import type { View } from '../../pages/view.ts'
import type { ManagedUser } from '../../users/schemas.ts'

/** What is not as it usually is with somebody. Whoever is active and verified has no badge. */
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
  // Who manages others has more to lose than themselves.
  const hasNoFactor = user.role !== 'user' && user.second_factor === 'none'
  return hasNoFactor ? <Badge tone="info">{badge.noFactor}</Badge> : null
}
