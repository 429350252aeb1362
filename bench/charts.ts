import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Results, readResults } from './results.ts'

const FOLDER = join(import.meta.dirname, 'charts')
const WIDTH = 760
const LEFT = 210
const RIGHT = 90

/** Colours for a light and a dark theme. */
const STYLE = `<style>
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-size: 16px; font-weight: 600 }
  .quiet { fill: #656d76 }
  .ours { fill: #0969da } .other { fill: #afb8c1 } .line { stroke: #d0d7de }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .quiet { fill: #8d96a0 }
    .ours { fill: #4493f8 } .other { fill: #484f58 } .line { stroke: #30363d }
  }
</style>`

interface Bar {
  value: number
  label: string
  isOurs: boolean
}
interface Group {
  name: string
  bars: Bar[]
}

const toXml = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** Horizontal bars in groups, on one scale that starts at zero. */
function barChart(title: string, subtitle: string, groups: Group[], limit: number): string {
  const BAR = 16
  const GAP = 12
  const scale = (value: number) => (Math.min(value, limit) / limit) * (WIDTH - LEFT - RIGHT)
  let y = 68
  const body = groups.map(({ name, bars }) => {
    const height = bars.length * BAR
    const drawn = bars.map(
      ({ value, label, isOurs }, index) =>
        `<rect class="${isOurs ? 'ours' : 'other'}" x="${LEFT}" y="${y + index * BAR}" width="${scale(value).toFixed(1)}" height="${BAR - 3}" rx="2"/>` +
        `<text class="quiet" x="${(LEFT + scale(value) + 6).toFixed(1)}" y="${y + index * BAR + 11}">${toXml(label)}</text>`,
    )
    const heading = `<text x="${LEFT - 10}" y="${y + height / 2 + 3}" text-anchor="end">${toXml(name)}</text>`
    y += height + GAP
    return heading + drawn.join('')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-label="${toXml(title)}">
${STYLE}
<text class="title" x="16" y="26">${toXml(title)}</text>
<text class="quiet" x="16" y="47">${toXml(subtitle)}</text>
<line class="line" x1="${LEFT}" y1="60" x2="${LEFT}" y2="${y - 6}"/>
${body.join('\n')}
</svg>
`
}

function floorChart({ ratios }: Results): string {
  const groups = ratios
    .filter((it) => it.connections === 16)
    .map((it) => ({
      name: it.operation,
      bars: [{ value: it.ratio, label: `${Math.round(it.ratio * 100)} %`, isOurs: true }],
    }))
  return barChart(
    'How near Roster is to the least that the work costs',
    'Requests per second at 16 connections, as a part of a Worker that only makes as many calls',
    groups,
    1,
  )
}

/** Operations that become slow with a large table of people if nobody takes care. */
const GROWING = [
  'read of oneself',
  'first page',
  'deep page of 100, by cursor',
  'filter: status disabled',
  'sorted by name',
  'look-up by e-mail',
  'search: everybody has it',
  'history of a person',
  'refresh',
]

function growthChart({ growth }: Results): string {
  const sizes = [...new Set(growth.map((it) => it.people))]
  const shown = growth.filter((it) => GROWING.includes(it.operation))
  const groups = GROWING.map((name) => ({
    name,
    bars: sizes.map((people, index) => {
      const { rowsRead } = shown.find((it) => it.operation === name && it.people === people)!
      return {
        value: rowsRead,
        label: `${rowsRead} rows at ${people.toLocaleString('en')} people`,
        isOurs: index === sizes.length - 1,
      }
    }),
  }))
  const most = Math.max(...shown.map((it) => it.rowsRead))
  return barChart(
    'The cost of a request does not grow with the number of people',
    'Rows that libSQL reads for one request',
    groups,
    most * 1.5,
  )
}

function distanceChart({ distance }: Results): string {
  const shown = distance.filter((it) => it.redis === 'everywhere')
  const groups = shown.map((it) => ({
    name: `${it.region}, ${it.roundTripMs} ms away`,
    bars: [
      { value: it.readMs, label: `${Math.round(it.readMs)} ms, oneself: by the copy nearby`, isOurs: true },
      {
        value: it.readOfUserMs,
        label: `${Math.round(it.readOfUserMs)} ms, anybody else: by the database`,
        isOurs: false,
      },
    ],
  }))
  const most = Math.max(...shown.map((it) => it.readOfUserMs))
  return barChart(
    'How far away the database is',
    'A signed-in read from six regions; the database in Virginia, Redis everywhere',
    groups,
    most * 1.4,
  )
}

/** Draws the charts of the README. */
export function writeCharts(results: Results): void {
  mkdirSync(FOLDER, { recursive: true })
  const charts = { floor: floorChart, growth: growthChart, distance: distanceChart }
  for (const [name, draw] of Object.entries(charts)) writeFileSync(join(FOLDER, `${name}.svg`), draw(results))
}

if (import.meta.main) writeCharts(readResults() as Results)
