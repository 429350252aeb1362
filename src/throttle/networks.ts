import { parseAddress } from '../values/ip.ts'

/**
 * The network of an address, in one spelling: an IPv4 address itself, or the /64 of an IPv6 address (a
 * household has that many). All requests without an address share one network.
 */
export function networkOf(ip: string | null): string {
  const address = parseAddress(ip)
  if (address === undefined) return 'none'
  return typeof address === 'string' ? address : prefixOf(address, 4)
}

/**
 * The wider network around it. A tunnel broker gives anybody a whole /48, which is 65,536 networks, for free.
 * An IPv4 /24 has to be paid for, so it is only considered where something costs money. Undefined if there is
 * none.
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
