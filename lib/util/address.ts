/** IP addresses in one spelling, whoever wrote them. */
import { isIP, SocketAddress } from 'node:net'

/** `[address]` or `[address]:port`; some proxies leave out the digits of a port that they do not know. */
const BRACKETED = /^\[([^\]]*)\](?::\d{0,5})?$/
/** Behind `::` only after IPv4: else nobody can tell a port from the last group. */
const PORT = /^((?:(?!::).)*|.*\.\d+):\d{0,5}$/
const ZONE = /%.*$/
const IPV4_IN_IPV6 = /^::ffff:(?=\d+\.)/

/**
 * The address in its one spelling: IPv4 also where it came inside IPv6, IPv6 in lower case and as short as can be.
 * Takes what proxies add to an address: quotes, brackets, a port, a zone. undefined where there is none, as in
 * `unknown`, or where two could be meant, as in `010.0.0.1`.
 */
export function readAddress(text: string): string | undefined {
  const bare = text.trim().replace(/^"(.*)"$/, '$1')
  const [, bracketed] = BRACKETED.exec(bare) ?? []
  const address = (bracketed ?? bare).replace(ZONE, '')
  return canonical(address) ?? (bracketed === undefined ? canonical(address.replace(PORT, '$1')) : undefined)
}

function canonical(address: string): string | undefined {
  const family = isIP(address)
  if (family !== 6) return family === 4 ? address : undefined
  return new SocketAddress({ address, family: 'ipv6' }).address.replace(IPV4_IN_IPV6, '')
}

/** What counts as one client: an address of IPv4; of IPv6 the first 64 bits, as a whole network belongs to one. */
export function clientNetwork(address: string): string {
  if (!address.includes(':')) return address
  const [before = '', after] = address.split('::').map((half) => half.split(':').filter((group) => group !== ''))
  const zeros = after === undefined ? [] : Array<string>(8 - before.length - after.length).fill('0')
  const network = [...before, ...zeros, ...(after ?? [])].slice(0, 4).join(':')
  return new SocketAddress({ address: `${network}::`, family: 'ipv6' }).address
}
