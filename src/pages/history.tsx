import type { FC } from 'hono/jsx'
import type { Activity } from '../activity/schemas.ts'
import { DAY_MS } from '../values/durations.ts'
import { countryOf, deviceOf, toLongDay, toMinute } from './format.ts'
import { GRAVE } from './texts/en/history.ts'
import type { View } from './view.ts'

/**
 * Placeholders for names in a sentence: characters that nobody can type, so that no name is mistaken for one.
 */
const [ACTOR, WHOM, BY] = ['\uE000', '\uE001', '\uE002']
const PLACES = /([\uE000-\uE002])/

/** Rows of history as sentences, by day, with the time in the margin. */
export const History: FC<{
  view: View
  rows: Activity[]
  /** The viewer. */
  viewerId: string
  /** Whose history it is, if it is one user's: their name is then left out. */
  subjectId?: string
  /** Names of the people in the rows, by id. */
  names: Record<string, string>
  /** Whether names link to the pages of those people. */
  leads?: boolean
  /** The heading level of a day: `h3` where the history has a heading of its own. */
  dayAs?: 'h2' | 'h3'
}> = ({ view, rows, viewerId, subjectId, names, leads = false, dayAs: DayHeading = 'h3' }) => {
  const { common, history } = view.texts
  const days = Object.entries(Object.groupBy(rows, (row) => toLongDay(view, Date.parse(row.created_at))))
  const today = toLongDay(view, view.now)
  const yesterday = toLongDay(view, view.now - DAY_MS)
  const nameOf = (id: string | null, { you, somebody }: { you: string; somebody: string } = history) =>
    id === null ? history.system : id === viewerId ? you : (names[id] ?? somebody)
  return (
    <div class="history">
      {days.map(([day, events = []]) => (
        <section>
          <DayHeading>{day === today ? common.today : day === yesterday ? common.yesterday : day}</DayHeading>
          {events.map((row) => {
            const at = Date.parse(row.created_at)
            const isAboutOther =
              row.user_id !== null && row.user_id !== row.actor_id && row.user_id !== subjectId
            const told = {
              actor: ACTOR,
              by: BY,
              whom: isAboutOther ? WHOM : null,
              details: (row.details ?? {}) as Record<string, unknown>,
            }
            const sentence = history.sentences[row.action]?.(told) ?? history.other(told, row.action)
            const place = placeOf(view, row)
            return (
              <div class={`event ${GRAVE.has(row.action) ? 'danger' : ''}`}>
                <time datetime={row.created_at}>{toMinute(view, at)}</time>
                <div>
                  <p>
                    {sentence.split(PLACES).map((part) => {
                      if (part === ACTOR || part === BY)
                        return (
                          <strong>
                            <bdi>{nameOf(row.actor_id, part === BY ? history.by : history)}</bdi>
                          </strong>
                        )
                      if (part !== WHOM) return part
                      const name = <bdi>{names[row.user_id!] ?? history.gone}</bdi>
                      return leads && names[row.user_id!] ? (
                        <a href={`/admin/people/${row.user_id}`}>{name}</a>
                      ) : (
                        name
                      )
                    })}
                  </p>
                  {place && <p>{place}</p>}
                </div>
              </div>
            )
          })}
        </section>
      ))}
    </div>
  )
}

/** Where from, and with what: "Firefox on macOS, Norway". */
export function placeOf(
  view: View,
  row: { user_agent: string | null; country: string | null; ip?: string | null },
): string {
  return [deviceName(view, row.user_agent), countryOf(view.language, row.country), row.ip]
    .filter(Boolean)
    .join(' · ')
}

export function deviceName({ texts: { common } }: View, userAgent: string | null): string | undefined {
  if (userAgent === null) return undefined
  const { browser, system, program } = deviceOf(userAgent)
  if (browser && system) return common.deviceOn(browser, system)
  return program ? common.aProgram(program) : common.unknownDevice
}
