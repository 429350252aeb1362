/**
 * The network an address belongs to, in one spelling: an IPv4 address itself, the /64 of an IPv6 address (one
 * household has that many). Without an address everybody shares one.
 */
export function networkOf(ip: string | null): string {
  const address = parseAddress(ip)
  if (address === undefined) return 'none'
  return typeof address === 'string' ? address : prefixOf(address, 4)
}

/**
 * The wider network around it. A tunnel broker gives one host a whole /48 for nothing, which is 65,536 networks; an
 * IPv4 /24 has to be paid for, so it is only looked at where something costs money. Undefined where there is none.
 */
export function rangeOf(ip: string | null, { ofIpv4 = false } = {}): string | undefined {
  const address = parseAddress(ip)
  if (address === undefined) return undefined
  if (typeof address !== 'string') return prefixOf(address, 3)
  return ofIpv4 ? `${address.split('.').slice(0, 3).join('.')}.0/24` : undefined
}

const prefixOf = (groups: number[], length: number) =>
  `${groups
    .slice(0, length)
    .map((group) => group.toString(16))
    .join(':')}::/${length * 16}`

/** An IPv4 address as it is written, or the groups of an IPv6 address; undefined for anything else. */
function parseAddress(ip: string | null): string | number[] | undefined {
  if (ip === null) return undefined
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(ip)) return ip
  const groups = expandIpv6(ip)
  if (!groups) return undefined
  const isMappedIpv4 = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (!isMappedIpv4) return groups
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 255])
    .join('.')
}

function expandIpv6(ip: string): number[] | undefined {
  // The URL parser knows every spelling of an IPv6 address and gives the canonical one (WHATWG URL, host parsing).
  const canonical = URL.parse(`http://[${ip}]`)?.hostname.slice(1, -1)
  if (!canonical) return undefined
  const [head = '', tail] = canonical.split('::')
  const parse = (part: string) => (part ? part.split(':').map((group) => Number.parseInt(group, 16)) : [])
  const before = parse(head)
  const after = parse(tail ?? '')
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
}
