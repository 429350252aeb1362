/** The first that matches counts, as later browsers also use the names of earlier ones. */
const BROWSERS: [RegExp, string][] = [
  [/Edg(e|A|iOS)?\//, 'Edge'],
  [/OPR\/|Opera/, 'Opera'],
  [/SamsungBrowser\//, 'Samsung Internet'],
  [/Firefox\/|FxiOS\//, 'Firefox'],
  [/Chrome\/|CriOS\//, 'Chrome'],
  [/Safari\//, 'Safari'],
]
const SYSTEMS: [RegExp, string][] = [
  [/iPhone/, 'iPhone'],
  [/iPad/, 'iPad'],
  [/Android/, 'Android'],
  [/Windows/, 'Windows'],
  [/CrOS/, 'ChromeOS'],
  [/Mac OS X|Macintosh/, 'macOS'],
  [/Linux/, 'Linux'],
]

/** The browser and the system that a User-Agent names, in our own words. */
export function readUserAgent(userAgent: string | null) {
  const nameIn = (names: [RegExp, string][]) => names.find(([pattern]) => pattern.test(userAgent ?? ''))?.[1]
  return { browser: nameIn(BROWSERS), system: nameIn(SYSTEMS) }
}

/**
 * The same as one name: "Firefox on macOS". The User-Agent itself is text of the caller's choice, and must not get into
 * anybody's mail.
 */
export function describeUserAgent(userAgent: string | null): string | null {
  const { browser, system } = readUserAgent(userAgent)
  if (!browser) return system ?? null
  return system ? `${browser} on ${system}` : browser
}
