/** How often one client may call, on however many instances. */
import { once } from 'node:events'
import { request } from 'node:http'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { startRedis } from '../../../tools/redis.ts'
import { APPID, build, logIn, type World } from '../../helper.ts'
import { callsOf, get, post, refused } from './client.ts'

/** The statuses of `times` answers, as `[status, how many]` in the order in which they came. */
async function statuses(times: number, call: (index: number) => Promise<{ statusCode: number }>) {
  const found: [status: number, times: number][] = []
  for (let index = 0; index < times; index++) {
    const { statusCode } = await call(index)
    const last = found.at(-1)
    if (last?.[0] === statusCode) last[1]++
    else found.push([statusCode, 1])
  }
  return found
}

const fromAddress = (app: FastifyInstance, address: string, url = '/api/test') =>
  app.inject({ url, headers: { 'x-forwarded-for': address } })

const phoneCode = ({ sandbox }: World, openid: string) =>
  sandbox.phoneButton({ appid: APPID, openid, phoneNumber: '13000000000' }).code

t.test('a client is refused above RATE_LIMIT, until the minute is over, on every instance', async (t) => {
  const { app, another } = await build(t, { env: { RATE_LIMIT: '10' } })
  const other = await another()
  t.same(await statuses(10, (index) => get(index % 2 ? app : other, '/api/test')), [[200, 10]])
  const answer = await get(other, '/api/test')
  refused(t, answer, 429, 'RATE_LIMITED')
  const wait = Number(answer.headers['retry-after'])
  t.ok(Number.isInteger(wait) && wait >= 1 && wait <= 60, 'says how long to wait')
  refused(t, await get(app, '/api/test'), 429, 'RATE_LIMITED')
})

t.test(
  'each address has a limit of its own, an IPv6 network counts as one, and only trusted proxies name addresses',
  async (t) => {
    const { app } = await build(t, { env: { RATE_LIMIT: '2' } })
    t.same(await statuses(3, () => fromAddress(app, '198.51.100.1')), [
      [200, 2],
      [429, 1]
    ])
    t.same(await statuses(3, () => fromAddress(app, '198.51.100.2')), [
      [200, 2],
      [429, 1]
    ])
    t.same(await statuses(3, (index) => fromAddress(app, `2001:db8:0:1::${index}`)), [
      [200, 2],
      [429, 1]
    ])
    t.same(await statuses(1, () => fromAddress(app, '2001:db8:0:2::1')), [[200, 1]])

    const { app: alone } = await build(t, { env: { RATE_LIMIT: '2', TRUST_PROXY: '203.0.113.9' } })
    t.same(await statuses(3, (index) => fromAddress(alone, `198.51.100.${index}`)), [
      [200, 2],
      [429, 1]
    ])
  }
)

/** One client each, in the spellings of different proxies; the last address is the one that counts. */
const ONE_CLIENT: readonly (readonly string[])[] = [
  [
    '198.51.100.7',
    '198.51.100.7:1',
    '198.51.100.7:56789',
    '"198.51.100.7:2"',
    '::ffff:198.51.100.7',
    '::FFFF:C633:6407'
  ],
  ['6.6.6.6, 198.51.100.8', '6.6.6.7,198.51.100.8:5', ' 6.6.6.8 ,\t198.51.100.8 ', ',,198.51.100.8:99,'],
  [
    '[2001:db8:7::1]:443',
    '2001:DB8:7::1',
    '2001:0db8:0007:0000:0000:0000:0000:0002',
    '2001:db8:7::3%eth0',
    '[2001:db8:7::1]'
  ],
  ['fe80::1%eth0', 'fe80::1%eth1', '[fe80::2%3]:80'],
  // A proxy of ours in the middle, in several spellings.
  [
    '198.51.100.9, 127.0.0.2',
    '198.51.100.9,127.0.0.2:80',
    '198.51.100.9:7, [::1]:443, ::FFFF:127.0.0.9',
    '198.51.100.9,"127.0.0.1"'
  ],
  // A value that is no address counts for the proxy that wrote it.
  [
    'unknown',
    '_hidden1',
    '_hidden2',
    '',
    ',',
    '-',
    '198.51.100.300',
    '198.051.100.1',
    '127.1',
    'a.example',
    '6.6.6.1, unknown',
    '6.6.6.2, x',
    '6.6.6.3, _y:80',
    'for=6.6.6.4',
    '6.6.6.5;',
    '"6.6.6.6'
  ],
  ['unknown, 127.0.0.3', '6.6.6.6, _x, 127.0.0.3:80', '[x], ::ffff:127.0.0.3']
]

t.test('one client has one limit, however its proxies write its address', async (t) => {
  const { app } = await build(t, { env: { RATE_LIMIT: '2' } })
  for (const spellings of ONE_CLIENT) {
    for (const [index, address] of spellings.entries()) {
      const { statusCode } = await fromAddress(app, address)
      t.equal(statusCode, index < 2 ? 200 : 429, `call ${index + 1} from ${JSON.stringify(address)}`)
    }
  }
})

t.test('so it is through a socket, with the header several times and addresses that no proxy may write', async (t) => {
  const { app } = await build(t, { env: { RATE_LIMIT: '3' } })
  const origin = new URL(await app.listen({ port: 0, host: '127.0.0.1' }))
  const call = async (...addresses: string[]) => {
    const headers = ['host', 'x', ...addresses.flatMap((address) => ['x-forwarded-for', address])]
    const [answer] = await once(request({ port: origin.port, path: '/api/test', headers }).end(), 'response')
    answer.resume()
    return answer as { statusCode: number }
  }
  const sent = [
    ['6.6.6.1', '198.51.100.5:1'],
    ['198.51.100.5'],
    ['\xff\xfe', '198.51.100.5:3, 127.0.0.1:9'],
    ['198.51.100.5:4']
  ]
  t.same(await statuses(4, (index) => call(...(sent[index] ?? []))), [
    [200, 3],
    [429, 1]
  ])
  t.same(await statuses(5, (index) => call(`${'9'.repeat(index)}\xff`)), [
    [200, 3],
    [429, 2]
  ])
})

t.test('sessions have limits of their own, wherever they call from', async (t) => {
  const { app, sandbox } = await build(t, { env: { RATE_LIMIT: '20' } })
  const one = await logIn(app, sandbox)
  const two = await logIn(app, sandbox)
  t.same(await statuses(21, () => get(app, '/api/session', one.headers)), [
    [200, 20],
    [429, 1]
  ])
  t.same(await statuses(1, () => get(app, '/api/session', two.headers)), [[200, 1]])
  const elsewhere = { ...one.headers, 'x-forwarded-for': '198.51.100.9' }
  t.same(await statuses(1, () => get(app, '/api/session', elsewhere)), [[429, 1]])
})

t.test('tokens that are none are counted for the address', async (t) => {
  const { app, sandbox } = await build(t, { env: { RATE_LIMIT: '10' } })
  const { headers, token } = await logIn(app, sandbox)
  const forged = (index: number) => get(app, '/api/session', { authorization: `Bearer ${token}${index}` })
  t.same(await statuses(12, forged), [
    [401, 10],
    [429, 2]
  ])
  t.equal((await get(app, '/api/session', headers)).statusCode, 200)
})

t.test('login and phone have a tenth of the limit, rounded up, and are counted apart', async (t) => {
  const world = await build(t, { env: { RATE_LIMIT: '21' } })
  const { app, sandbox } = world
  const login = () => post(app, '/api/login', { code: sandbox.login({ appid: APPID }).code })
  t.same(await statuses(4, login), [
    [200, 3],
    [429, 1]
  ])
  t.equal(callsOf(sandbox, 'code2session').length, 3, 'a login that is refused does not use its code')
  const { headers, openid } = await logIn(await world.another({ RATE_LIMIT: '0' }), sandbox)
  t.same(await statuses(4, () => post(app, '/api/phone', { code: phoneCode(world, openid) }, headers)), [
    [200, 3],
    [429, 1]
  ])
  t.equal((await get(app, '/api/session', headers)).statusCode, 200)
})

t.test('a user exchanges thirty phone codes a day; what is decrypted here is not counted', async (t) => {
  const world = await build(t, { env: { RATE_LIMIT: '1000' } })
  const { app, sandbox } = world
  const { headers, openid } = await logIn(app, sandbox)
  const byCode = () => post(app, '/api/phone', { code: phoneCode(world, openid) }, headers)
  t.same(await statuses(30, byCode), [[200, 30]])
  const answer = await byCode()
  refused(t, answer, 429, 'RATE_LIMITED')
  t.ok(Number(answer.headers['retry-after']) > 86_000)
  t.equal(callsOf(sandbox, 'getuserphonenumber').length, 30)
  const { encryptedData, iv } = sandbox.phoneButton({ appid: APPID, openid, phoneNumber: '13000000000' })
  t.equal((await post(app, '/api/phone', { encryptedData, iv }, headers)).statusCode, 200)
  const other = await logIn(app, sandbox)
  const othersCode = phoneCode(world, other.openid)
  t.equal((await post(app, '/api/phone', { code: othersCode }, other.headers)).statusCode, 200)
})

t.test('RATE_LIMIT=0 refuses nobody and counts nothing', async (t) => {
  const { app, sandbox } = await build(t, { env: { RATE_LIMIT: '0' } })
  t.same(await statuses(700, () => get(app, '/api/test')), [[200, 700]])
  await logIn(app, sandbox)
  t.same(await app.redis.keys(`${app.keys.window('*').split('{')[0]}*`), [])
})

t.test('counts go with their minute: none stays in Redis', async (t) => {
  const { app, sandbox } = await build(t)
  const { headers } = await logIn(app, sandbox)
  await get(app, '/api/session', headers)
  const names = await app.redis.keys(`${app.keys.window('*').split('{')[0]}*`)
  t.equal(names.length, 2)
  for (const name of names) {
    const left = await app.redis.pttl(name)
    t.ok(left > 0 && left <= 60_000)
  }
})

t.test('without Redis nobody is refused for a limit', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { app } = await build(t, { redis, env: { RATE_LIMIT: '1' } })
  await redis.stop()
  t.same(await statuses(3, () => get(app, '/api/test')), [[200, 3]])
  refused(t, await post(app, '/api/login', { code: 'x' }), 503, 'REDIS_UNAVAILABLE')
})
