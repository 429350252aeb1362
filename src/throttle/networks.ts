import { parseAddress } from '../values/ip.ts'

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
 * The wider network around it. A tunnel broker gives anybody a whole /48 for nothing, which is 65,536 networks. An IPv4
 * /24 has to be paid for, so it is looked at only where something costs money. Undefined if there is none.
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
