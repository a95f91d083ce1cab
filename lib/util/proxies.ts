/** Which addresses are proxies of ours, whose X-Forwarded-For counts. */
import { BlockList, isIPv4 } from 'node:net'
import { readAddress } from './address.ts'

const RANGES: Readonly<Record<string, readonly string[]>> = {
  loopback: ['127.0.0.0/8', '::1'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
  uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7']
}

/**
 * Tells whether an address belongs to one of `entries` (each an address, a range such as `10.0.0.0/8`, or loopback,
 * linklocal, uniquelocal), in whatever spelling a proxy wrote it. What is no address does not.
 */
export function createProxyTrust(entries: readonly string[]): (address: string | undefined) => boolean {
  const trusted = new BlockList()
  for (const entry of entries.flatMap((each) => RANGES[each] ?? [each])) addEntry(trusted, entry)
  return (text) => {
    const address = readAddress(text ?? '')
    return address !== undefined && trusted.check(address, familyOf(address))
  }
}

function addEntry(list: BlockList, entry: string): void {
  const [address = '', bits] = entry.split('/')
  if (bits === undefined) list.addAddress(address, familyOf(address))
  else list.addSubnet(address, Number(bits), familyOf(address))
}

const familyOf = (address: string) => (isIPv4(address) ? 'ipv4' : 'ipv6')
