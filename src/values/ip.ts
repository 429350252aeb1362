/** An IPv4 address as it is written, or the groups of an IPv6 address; undefined for anything else. */
export function parseAddress(ip: string | null): string | number[] | undefined {
  if (ip === null) return undefined
  // Some parsers read a number that begins with 0 as octal: 010.1.1.1 would be two addresses.
  if (/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(ip)) return ip
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

/** The numbers of an address, and how many bits each has. */
function partsOf(address: string | number[]): { parts: number[]; width: number } {
  return typeof address === 'string'
    ? { parts: address.split('.').map(Number), width: 8 }
    : { parts: address, width: 16 }
}

/** One IPv6 subscriber has a whole /64, here as elsewhere. */
const IPV6_BITS = 64

/** The length of the prefix of an IPv4 address that is written as IPv6. */
const MAPPED_BITS = 96

/** An address, or a network as its first address and prefix length: `192.0.2.0/24`, `2001:db8::/32`. */
function parseNetwork(text: string) {
  const [, first, length] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const address = first === undefined ? undefined : parseAddress(first)
  if (address === undefined) return undefined
  const { parts, width } = partsOf(address)
  const isIpv4 = typeof address === 'string'
  // The prefix length of `::ffff:192.0.2.0/120` is counted from the start of the IPv6 address.
  const before = isIpv4 && first!.includes(':') ? MAPPED_BITS : 0
  const bits = length === undefined ? (isIpv4 ? 32 : IPV6_BITS) : Number(length) - before
  return { parts, width, bits }
}

/** What is wrong with such a text; undefined for a good one. */
export function faultOfNetwork(text: string): string | undefined {
  const network = parseNetwork(text)
  if (!network) return 'is neither an IP address nor a network'
  const { parts, width, bits } = network
  if (bits < 1 || bits > parts.length * width || parts.some((part) => part >= 2 ** width))
    return 'is an impossible network'
  return undefined
}

/**
 * The one spelling of a network: by its first address; a single IPv4 address by itself. Undefined if it is
 * neither.
 */
export function spellNetwork(text: string): string | undefined {
  const network = faultOfNetwork(text) === undefined ? parseNetwork(text) : undefined
  return network && spell(network)
}

/**
 * Every network that contains an address or a network, as spelt by `spellNetwork`; none for anything else.
 */
export function networksAround(text: string): string[] {
  const network = parseNetwork(text)
  if (!network) return []
  const { parts, width } = network
  const most = text.includes('/') ? network.bits : parts.length * width
  return Array.from({ length: most }, (_, index) => spell({ parts, width, bits: most - index }))
}

function spell({ parts, width, bits }: { parts: number[]; width: number; bits: number }): string {
  const first = parts.map((part, index) => {
    const free = width - Math.min(width, Math.max(0, bits - index * width))
    return (part >> free) << free
  })
  if (width === 8) return `${first.join('.')}${bits < 32 ? `/${bits}` : ''}`
  const groups = first.map((group) => group.toString(16)).join(':')
  return `${URL.parse(`http://[${groups}]`)!.hostname.slice(1, -1)}/${bits}`
}
