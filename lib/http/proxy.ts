/** Which calls go through the operator's proxy, and what may be shown of it. */
import { BlockList, isIP } from 'node:net'

export interface ProxySettings {
  /** URL of the proxy for https:// addresses. It may hold a password: of it only `proxyName` may be shown. */
  https?: string
  /** The same for http:// addresses. */
  http?: string
  /** Hosts, suffixes, addresses and ranges that are called without it, each with a port or not; `*`: all. */
  noProxy: readonly string[]
}

/** This machine and this link: no proxy leads there. */
const NEAR = new BlockList()
NEAR.addSubnet('127.0.0.0', 8)
NEAR.addSubnet('169.254.0.0', 16)
NEAR.addAddress('0.0.0.0')
NEAR.addAddress('::1', 'ipv6')
NEAR.addAddress('::', 'ipv6')
NEAR.addSubnet('fe80::', 10, 'ipv6')

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }

/** The URL of the proxy for an origin; undefined where it is called directly. */
export function proxyFor(origin: string, settings: ProxySettings | undefined): string | undefined {
  const url = new URL(origin)
  const proxy = url.protocol === 'https:' ? settings?.https : settings?.http
  const host = bareName(url.hostname)
  const port = url.port || DEFAULT_PORTS[url.protocol] || ''
  if (proxy === undefined || settings === undefined || isNear(host)) return undefined
  return settings.noProxy.some((entry) => covers(entry, host, port)) ? undefined : proxy
}

/** Host and port, for logs. */
export const proxyName = (proxy: string): string => new URL(proxy).host

const familyOf = (host: string): 'ipv4' | 'ipv6' => (isIP(host) === 6 ? 'ipv6' : 'ipv4')

const bareName = (host: string): string =>
  host
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/(?<=.)\.$/, '')
    .toLowerCase()

function isNear(host: string): boolean {
  if (isIP(host) !== 0) return NEAR.check(host, familyOf(host))
  return !host.includes('.') || host.endsWith('.localhost')
}

/** `host`, `.suffix`, `*.suffix` or `*`, an address or a range of addresses, each with `:port` or without. */
function covers(entry: string, host: string, port: string): boolean {
  const [, bracketed, plain, wantedPort] = /^(?:\[(.+)\]|([^:]*|.*:.*:.*))(?::(\d+))?$/.exec(entry) ?? []
  const name = bareName(bracketed ?? plain ?? entry)
  if (wantedPort !== undefined && wantedPort !== port) return false
  if (name === '*') return true
  if (name.includes('/')) return isInRange(name, host)
  if (isIP(host) !== 0) return isSameAddress(name, host)
  if (name.startsWith('*.')) return host.endsWith(name.slice(1))
  const suffix = name.replace(/^\./, '')
  return suffix !== '' && (host === suffix || host.endsWith(`.${suffix}`))
}

function isInRange(range: string, host: string): boolean {
  const [network = '', bits = ''] = range.split('/')
  const longest = isIP(network) === 6 ? 128 : 32
  if (isIP(network) === 0 || isIP(host) === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > longest) return false
  const list = new BlockList()
  list.addSubnet(network, Number(bits), familyOf(network))
  return list.check(host, familyOf(host))
}

function isSameAddress(address: string, host: string): boolean {
  if (isIP(address) === 0) return false
  const list = new BlockList()
  list.addAddress(address, familyOf(address))
  return list.check(host, familyOf(host))
}

/** The status, such as 407, with which the proxy refused a connection; undefined where it was not the proxy. */
export function proxyVerdict({ message }: Error): string | undefined {
  return /^Proxy (?:response|Authentication Required) \((\d{3})\)/.exec(message)?.[1]
}
