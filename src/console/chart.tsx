import type { FC } from 'hono/jsx'
import { toNumber, toShortDay } from '../pages/format.ts'
import type { View } from '../pages/view.ts'

export interface DayOfChart {
  /** Epoch ms. */
  at: number
  up: number
  down?: number
}

const BAR = { step: 10, width: 7, inset: 1.5 }
const HEIGHT = 100
/** The part of the height that is below the line, if anything is drawn there. */
const BELOW = 24

/** The least round number that is not below `value`: 1, 2, 4, 5, 8 or 10 times a power of ten. */
function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)))
  return [1, 2, 4, 5, 8, 10].map((step) => step * power).find((step) => step >= value) ?? value
}

/**
 * A bar for each day, drawn on the server. Failures are below the line, on a scale of their own. Labels are
 * HTML beside the chart, so that they keep their size while the bars scale with the width.
 */
export const Chart: FC<{ view: View; title: string; days: DayOfChart[] }> = ({ view, title, days }) => {
  const texts = view.texts.console.today
  const number = (value: number) => toNumber(view.language, value)
  const dayName = (at: number) => toShortDay({ ...view, timeZone: 'UTC' }, at)
  const hasBelow = days.some(({ down }) => down !== undefined)
  const line = hasBelow ? HEIGHT - BELOW : HEIGHT
  const top = roundUp(Math.max(2, ...days.map(({ up }) => up)))
  const bottom = roundUp(Math.max(1, ...days.map(({ down = 0 }) => down)))
  const highest = days.reduce((most, day) => (day.up > most.up ? day : most), days[0]!)
  const width = days.length * BAR.step
  const summary = texts.summary(title, number(highest.up), dayName(highest.at))
  return (
    <figure class="chart">
      <figcaption>
        <h2>{title}</h2>
        <span class="legend">
          {hasBelow && (
            <>
              <span>
                <i /> {texts.legend.signedIn}
              </span>
              <span>
                <i class="failed" /> {texts.legend.failed}
              </span>
            </>
          )}
          <span>
            <i class="today" /> {texts.legend.today}
          </span>
        </span>
      </figcaption>
      <div class={hasBelow ? 'plot two' : 'plot'}>
        <svg
          viewBox={`0 0 ${width} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={summary}
          height={hasBelow ? 150 : 110}
        >
          <path class="grid" d={`M0 .5H${width}M0 ${line / 2}H${width}`} />
          {days.map(({ at, up, down = 0 }, index) => {
            const x = index * BAR.step + BAR.inset
            const height = (up / top) * line
            const isToday = index === days.length - 1
            return (
              <g>
                <title>
                  {texts.figureOfDay(dayName(at), hasBelow ? `${number(up)} · ${number(down)}` : number(up))}
                </title>
                <rect
                  class={isToday ? 'today-mark' : 'bar-mark'}
                  x={x}
                  y={line - height}
                  width={BAR.width}
                  height={height}
                />
                {down > 0 && (
                  <rect
                    class="failed-mark"
                    x={x}
                    y={line + 1}
                    width={BAR.width}
                    height={(down / bottom) * (BELOW - 1)}
                  />
                )}
              </g>
            )
          })}
          <path class="zero" d={`M0 ${line}H${width}`} />
        </svg>
        <div class="scale" aria-hidden="true">
          <span>{number(top)}</span>
          <span>{number(top / 2)}</span>
          <span>0</span>
          {hasBelow && <span>{number(bottom)}</span>}
        </div>
        <div class="days" aria-hidden="true">
          <span>{dayName(days[0]!.at)}</span>
          <span>{dayName(days[Math.floor(days.length / 2)]!.at)}</span>
          <span>{view.texts.common.today}</span>
        </div>
      </div>
    </figure>
  )
}

/** The same numbers for those who cannot see bars, newest first. */
export const Numbers: FC<{ view: View; signIns: DayOfChart[]; signUps: DayOfChart[] }> = ({
  view,
  signIns,
  signUps,
}) => {
  const texts = view.texts.console.today
  const number = (value = 0) => toNumber(view.language, value)
  return (
    <details class="fold">
      <summary>{texts.asTable}</summary>
      <table class="numbers">
        <thead>
          <tr>
            <th scope="col">{texts.day}</th>
            <th scope="col">{texts.legend.signedIn}</th>
            <th scope="col">{texts.legend.failed}</th>
            <th scope="col">{texts.signUps}</th>
          </tr>
        </thead>
        <tbody>
          {signIns
            .map(({ at, up, down }, index) => (
              <tr>
                <th scope="row">{toShortDay({ ...view, timeZone: 'UTC' }, at)}</th>
                <td>{number(up)}</td>
                <td>{number(down)}</td>
                <td>{number(signUps[index]?.up)}</td>
              </tr>
            ))
            .toReversed()}
        </tbody>
      </table>
    </details>
  )
}
