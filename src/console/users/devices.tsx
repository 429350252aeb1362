import type { FC } from 'hono/jsx'
import { Ago, Icon } from '../../pages/components.tsx'
import { deviceOf } from '../../pages/format.ts'
import { deviceName, placeOf } from '../../pages/history.tsx'
import type { View } from '../../pages/view.ts'
import type { Session } from '../../sessions/schemas.ts'

/** Where somebody is signed in, as far as the viewer may know. */
export const Devices: FC<{ view: View; sessions: readonly Session[] }> = ({ view, sessions }) => {
  const texts = view.texts.console.person
  if (sessions.length === 0) return null
  return (
    <details class="fold">
      <summary>{texts.showDevices}</summary>
      <div class="rows">
        {sessions.map((session) => {
          const place = placeOf(view, { ...session, user_agent: null })
          return (
            <div class="row">
              <Icon name={deviceOf(session.user_agent).isPhone ? 'phone' : 'computer'} />
              <div class="what">
                <span class="title">
                  {deviceName(view, session.user_agent) ?? view.texts.common.unknownDevice}
                </span>
                <span class="detail">
                  {place && `${place} · `}
                  <Ago view={view} at={Date.parse(session.last_seen_at)} />
                </span>
              </div>
            </div>
          )
        })}
      </div>
    </details>
  )
}
