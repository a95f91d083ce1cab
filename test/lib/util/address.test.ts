/** Addresses as sockets and proxies write them, and which of them are proxies of ours. */
import t from 'tap'
import { clientNetwork, readAddress } from '../../../lib/util/address.ts'
import { createProxyTrust } from '../../../lib/util/proxies.ts'

const SPELLINGS: Readonly<Record<string, readonly string[]>> = {
  '198.51.100.7': [
    '198.51.100.7',
    ' 198.51.100.7\t',
    '198.51.100.7:56789',
    '198.51.100.7:0',
    '198.51.100.7:',
    '"198.51.100.7"',
    '"198.51.100.7:80"',
    '[198.51.100.7]:80',
    '::ffff:198.51.100.7',
    '::FFFF:198.51.100.7',
    '::ffff:c633:6407',
    '0:0:0:0:0:ffff:198.51.100.7',
    '[::ffff:198.51.100.7]:443',
    '::ffff:198.51.100.7%eth0',
    '::ffff:198.51.100.7:56789',
    '"::FFFF:198.51.100.7:80"',
    '0:0:0:0:0:ffff:198.51.100.7:'
  ],
  '2001:db8::1': [
    '2001:db8::1',
    '2001:DB8::1',
    '2001:0db8:0000:0000:0000:0000:0000:0001',
    '2001:db8:0:0::0:1',
    '[2001:db8::1]',
    '[2001:db8::1]:443',
    '[2001:db8::1]:',
    '"[2001:db8::1]:443"',
    '2001:db8:0:0:0:0:0:1:443',
    '2001:db8::1%3',
    '[2001:db8::1%eth0]:443'
  ],
  'fe80::1': ['fe80::1%eth0', 'FE80:0::1%en0', 'fe80::1'],
  '::1': ['::1', '0:0:0:0:0:0:0:1', '[::1]:3000']
}

const NONE = [
  '',
  ' ',
  'unknown',
  'Unknown',
  '_hidden',
  '_SEVKISEK:80',
  '-',
  'localhost',
  'example.com:80',
  '010.0.0.1',
  '198.051.100.7',
  '0x7f.0.0.1',
  '127.1',
  '2130706433',
  '198.51.100.256',
  '198.51.100.7.1',
  '198.51.100.7:123456',
  '198.51.100.7:80:80',
  '::ffff:198.51.100.7:80:80',
  '::ffff:198.51.100.7:123456',
  '198.51.100.7/32',
  '198.51.100.7;for=1',
  'for=198.51.100.7',
  '"198.51.100.7',
  '[198.51.100.7',
  '[2001:db8::1]443',
  '[[2001:db8::1]]',
  '2001:db8:::1',
  '12345::',
  '2001:db8::1::2',
  '::ffff:198.51.100.256',
  '198．51．100．7',
  '\u0000',
  ':',
  '%',
  '[]',
  '[]:80'
]

t.test('readAddress() has one spelling for each address', async (t) => {
  for (const [address, spellings] of Object.entries(SPELLINGS))
    for (const spelling of spellings) t.equal(readAddress(spelling), address, JSON.stringify(spelling))
  for (const text of NONE) t.equal(readAddress(text), undefined, JSON.stringify(text))
})

t.test('clientNetwork() is an address of IPv4, and the first 64 bits of IPv6', async (t) => {
  const networks = {
    '198.51.100.7': '198.51.100.7',
    '2001:db8:0:1:2:3:4:5': '2001:db8:0:1::',
    '2001:db8:0:1::5': '2001:db8:0:1::',
    '2001:db8::5': '2001:db8::',
    '1:2:3:4:5:6:7:8': '1:2:3:4::',
    '1::8': '1::',
    '::8': '::',
    '::': '::',
    '1::': '1::',
    '0:2:3:4:5:6:7:8': '0:2:3:4::',
    '1:2:3:4:5:6:7::': '1:2:3:4::',
    '::1.2.3.4': '::',
    'fe80::1': 'fe80::'
  }
  for (const [address, network] of Object.entries(networks)) t.equal(clientNetwork(address), network, address)
})

t.test('createProxyTrust() knows its proxies in every spelling, and nobody else', async (t) => {
  const trusts = createProxyTrust(['loopback', '10.1.0.0/16', '192.0.2.9', '2001:db8:1::/48', '::ffff:203.0.113.0/120'])
  const trusted = ['127.0.0.1', '127.9.9.9', '::1', '10.1.2.3', '192.0.2.9', '2001:db8:1:9::1', '203.0.113.77']
  for (const address of trusted) {
    const inIpv6 = address.includes(':') ? `[${address}]` : `::ffff:${address}`
    const withPort = address.includes(':') ? `[${address}]:9` : `${address}:9`
    for (const spelling of [address, address.toUpperCase(), inIpv6, withPort]) t.ok(trusts(spelling), spelling)
  }
  const strangers = ['10.2.0.1', '192.0.2.10', '198.51.100.7', '2001:db8:2::1', '203.0.114.1', '::2', '128.0.0.1']
  for (const address of [...strangers, ...NONE, undefined]) t.notOk(trusts(address), String(address))
  t.notOk(createProxyTrust([])('127.0.0.1'))
  const within = createProxyTrust(['linklocal', 'uniquelocal'])
  for (const address of ['169.254.1.1', 'fe80::1%eth0', '10.0.0.1', '172.31.0.1', '192.168.1.1', 'fd00::1'])
    t.ok(within(address), address)
  for (const address of ['127.0.0.1', '172.32.0.1', '11.0.0.1', 'fec0::1', '2001:db8::1'])
    t.notOk(within(address), address)
})
