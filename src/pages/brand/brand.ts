import { createHash } from 'node:crypto'

/*
 * Turns the organisation's colour into the four colours that the pages need, each readable on every
 * background. Hue and chroma are kept; lightness moves as far as the contrast requires (WCAG 2, in OKLCH). No
 * colour is refused.
 */

/** The page, surface and sunken backgrounds of roster.css. */
const GROUNDS = { light: ['#f8f7f4', '#ffffff', '#f2f0ec'], dark: ['#11100f', '#191815', '#0d0c0a'] }
const [WHITE, INK, PALE] = ['#ffffff', '#1c1a16', '#ebe9e5']
const [TEXT, TEXT_IN_DARK, SHAPE] = [4.5, 6, 3]
const TINT = 0.09
const STEP = 0.01

type Triple = [number, number, number]
interface Colour {
  lightness: number
  chroma: number
  /** In radians. */
  hue: number
}

export interface Brand {
  /** As it was given. */
  given: string
  light: Shades
  dark: Shades
}
interface Shades {
  accent: string
  fill: string
  onFill: string
  fillEdge: string
}

export function brandOf(given: string): Brand {
  const hex = toSixDigits(given)
  const colour = toColour(hex)
  const isNearBlack = colour.chroma < 0.04 && colour.lightness < 0.4
  const inDark = isNearBlack ? toColour(PALE) : colour
  const light = fillOf(colour)
  const dark = fillOf(move(inDark, STEP, (hex) => contrasts(hex, GROUNDS.dark) >= SHAPE))
  return {
    given: hex,
    light: {
      ...light,
      accent: toHex(move(colour, -STEP, (hex) => isReadable(hex, GROUNDS.light, TEXT))),
      fillEdge:
        contrasts(light.fill, GROUNDS.light) >= SHAPE
          ? 'transparent'
          : toHex(move(colour, -STEP, (hex) => contrasts(hex, GROUNDS.light) >= SHAPE)),
    },
    dark: {
      ...dark,
      accent: toHex(move(inDark, STEP, (hex) => isReadable(hex, GROUNDS.dark, TEXT_IN_DARK))),
      fillEdge: 'transparent',
    },
  }
}

/** Readable on every background, and on a surface that is tinted with the colour. */
const isReadable = (hex: string, grounds: string[], least: number) =>
  contrasts(hex, [...grounds, mix(hex, grounds[1]!, TINT)]) >= least

/** White text on the colour, or else ink; if neither can be read, the colour darkens until white can. */
function fillOf(colour: Colour): Pick<Shades, 'fill' | 'onFill'> {
  const fill = toHex(colour)
  const onFill = [WHITE, INK].find((text) => contrast(text!, fill) >= TEXT)
  if (onFill) return { fill, onFill }
  return { fill: toHex(move(colour, -STEP, (hex) => contrast(WHITE!, hex) >= TEXT)), onFill: WHITE! }
}

/** The nearest lightness in one direction that passes. */
function move(colour: Colour, step: number, isGood: (hex: string) => boolean): Colour {
  for (let { lightness } = colour; lightness >= 0 && lightness <= 1; lightness += step) {
    if (isGood(toHex({ ...colour, lightness }))) return { ...colour, lightness }
  }
  return { lightness: step < 0 ? 0 : 1, chroma: 0, hue: 0 }
}

const contrasts = (hex: string, grounds: string[]) =>
  Math.min(...grounds.map((ground) => contrast(hex, ground)))

/** WCAG 2: the contrast ratio of relative luminances. */
export function contrast(one: string, other: string): number {
  const [a, b] = [luminance(one), luminance(other)]
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
}
function luminance(hex: string): number {
  const [red, green, blue] = toLinear(hex)
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

const toSixDigits = (hex: string) => (hex.length === 4 ? hex.replace(/[\da-f]/gi, '$&$&') : hex).toLowerCase()

const toLinear = (hex: string): Triple =>
  [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  }) as Triple

const fromLinear = (linear: Triple) =>
  `#${linear
    .map((value) => {
      const clamped = Math.min(1, Math.max(0, value))
      const encoded = clamped <= 0.0031308 ? clamped * 12.92 : 1.055 * clamped ** (1 / 2.4) - 0.055
      return Math.round(encoded * 255)
        .toString(16)
        .padStart(2, '0')
    })
    .join('')}`

/** Oklab (Ottosson 2020). */
function toLab(hex: string): Triple {
  const [r, g, b] = toLinear(hex)
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ]
}

function fromLab([lightness, a, b]: Triple): string {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
  return fromLinear([
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ])
}

function toColour(hex: string): Colour {
  const [lightness, a, b] = toLab(hex)
  return { lightness, chroma: Math.hypot(a, b), hue: Math.atan2(b, a) }
}
const toHex = ({ lightness, chroma, hue }: Colour) =>
  fromLab([lightness, chroma * Math.cos(hue), chroma * Math.sin(hue)])

const mix = (one: string, other: string, share: number) => {
  const [a, b] = [toLab(one), toLab(other)]
  return fromLab(a.map((value, at) => value * share + b[at]! * (1 - share)) as Triple)
}

interface Sheet {
  brand: Brand
  css: string
  /** The path changes with the content, so it may be cached for ever. */
  path: string
}
const sheets = new Map<string, Sheet>()

/** The stylesheet of a colour, made once per isolate. */
export function brandSheet(given: string): Sheet {
  const known = sheets.get(given)
  if (known) return known
  const brand = brandOf(given)
  const both = (name: keyof Shades) => `light-dark(${brand.light[name]}, ${brand.dark[name]})`
  const css = `:root { --accent: ${both('accent')}; --fill: ${both('fill')}; --on-fill: ${both('onFill')}; --fill-edge: ${both('fillEdge')} }\n`
  const hash = createHash('sha256').update(css).digest('hex').slice(0, 12)
  const sheet = { brand, css, path: `/brand.${hash}.css` }
  sheets.set(given, sheet)
  return sheet
}
