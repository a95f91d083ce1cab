/** What a key with scopes may call, its name in the log, and lists of keys that stop the start. */
import { randomBytes } from 'node:crypto'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t from 'tap'
import { readApiKeys } from '../../../lib/settings/api-keys.ts'
import { Issues, SettingsError } from '../../../lib/settings/issues.ts'
import { API_KEY, build } from '../../helper.ts'
import { DOORS } from './doors.ts'

const SCOPES = ['read', 'login', 'events', 'pay', 'wechat']
const newKey = () => randomBytes(24).toString('hex')
const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

/** A URL of the route for something that does not exist: an app that is not configured, unknown numbers. */
const addressOf = (url: string) =>
  url
    .replace(':appid', `wx${'0'.repeat(16)}`)
    .replace(':kind', 'trade')
    .replace('*', 'wxa/x')
    .replace(/:\w+/g, 'nobody1')

const codeOf = async (app: FastifyInstance, options: InjectOptions) => {
  const answer = await app.inject(options)
  return options.method === 'HEAD' ? String(answer.statusCode) : (answer.json().code as string | undefined)
}

t.test('each scope opens its own calls and no other', async (t) => {
  const { another } = await build(t)
  const keys = new Map(SCOPES.map((scope) => [scope, newKey()]))
  const list = [...keys].map(([scope, key]) => `only-${scope}/${scope}:${key}`)
  const app = await another({ INTERNAL_API_KEYS: list.join(', ') })
  for (const [door, opening] of Object.entries(DOORS)) {
    const [method, url = ''] = door.split(' ')
    for (const [scope, key] of keys) {
      const options = { method: method as 'GET', url: addressOf(url), headers: bearer(key) }
      const answer = await app.inject(options)
      const isOpen = opening.includes(scope)
      if (isOpen) t.notMatch(answer.body, /KEY_SCOPE|TOKEN_/, `${scope} opens ${door}`)
      else
        t.match(answer.json(), { statusCode: 403, code: 'KEY_SCOPE', requestId: /./ }, `${scope} does not open ${door}`)
      if (!isOpen) t.match(answer.json().message, opening.join(' or '), 'and it says which scope would')
      if (method !== 'GET') continue
      const head = await app.inject({ ...options, method: 'HEAD' })
      t.equal(head.statusCode === 403, !isOpen && head.statusCode !== 404, `HEAD ${url} with ${scope}`)
    }
  }
})

t.test('several scopes of one key add up; a key without scopes opens everything', async (t) => {
  const { another } = await build(t)
  const [several, named, bare] = [newKey(), newKey(), newKey()]
  const app = await another({ INTERNAL_API_KEYS: `shop/pay+events:${several},ops:${named},${bare}` })
  for (const [door, opening] of Object.entries(DOORS)) {
    const [method, url = ''] = door.split(' ')
    const options = { method: method as 'GET', url: addressOf(url) }
    for (const key of [named, bare])
      t.notMatch((await app.inject({ ...options, headers: bearer(key) })).body, /KEY_SCOPE|TOKEN_/, door)
    const isOpen = opening.includes('pay') || opening.includes('events')
    t.equal((await codeOf(app, { ...options, headers: bearer(several) })) === 'KEY_SCOPE', !isOpen, door)
  }
})

t.test('a key without the scope is refused before anything else is looked at', async (t) => {
  const { another, sandbox } = await build(t)
  const key = newKey()
  const app = await another({ INTERNAL_API_KEYS: `reader/read:${key}` })
  const calls = [
    { method: 'POST', url: '/internal/pay/orders', payload: '{', headers: { 'content-type': 'application/json' } },
    { method: 'POST', url: '/internal/pay/orders', payload: 'x'.repeat(100_000) },
    { method: 'DELETE', url: '/internal/apps/no-app/users/%20/sessions' },
    { method: 'POST', url: '/internal/introspect', payload: {} }
  ] as const
  for (const { headers, ...call } of calls.map((each) => ({ headers: {}, ...each })))
    t.equal(await codeOf(app, { ...call, headers: { ...headers, ...bearer(key) } }), 'KEY_SCOPE', call.url)
  t.same(sandbox.calls(), [])
})

t.test('a text that only resembles a key, or names one, is none', async (t) => {
  const { another } = await build(t)
  const [key, other] = [newKey(), newKey()]
  const app = await another({ INTERNAL_API_KEYS: `shop/pay:${key},${other}` })
  for (const text of [
    `shop/pay:${key}`,
    `shop:${key}`,
    `pay:${key}`,
    'shop',
    `${key}:`,
    `${key},${other}`,
    `/pay:${key}`
  ])
    t.equal(await codeOf(app, { url: '/metrics', headers: bearer(text) }), 'TOKEN_INVALID')
})

t.test("the caller's name stands in the line of its call, and its key in none", async (t) => {
  const { another, logs } = await build(t)
  const [key, bare] = [newKey(), newKey()]
  const app = await another({ INTERNAL_API_KEYS: `night.job-1/events:${key},${bare}`, DOCS: 'on' })
  const lineOf = async (options: InjectOptions) => {
    const { headers } = await app.inject(options)
    return JSON.parse(
      logs()
        .split('\n')
        .find((line) => line.includes(String(headers['x-request-id']))) ?? '{}'
    )
  }
  t.match(await lineOf({ url: '/internal/events', headers: bearer(key) }), { caller: 'night.job-1', status: 200 })
  const refused = await lineOf({ method: 'POST', url: '/internal/pay/orders', headers: bearer(key) })
  t.match(refused, { caller: 'night.job-1', status: 403, code: 'KEY_SCOPE' })
  t.notOk('caller' in (await lineOf({ url: '/internal/events', headers: bearer(bare) })))
  t.notOk('caller' in (await lineOf({ url: '/internal/events', headers: bearer(API_KEY) })), 'a wrong key has no name')
  t.notOk('caller' in (await lineOf({ url: '/healthz' })))
  t.match(await lineOf({ url: '/docs/json', headers: bearer(key) }), { caller: 'night.job-1', status: 200 })
  t.notMatch(logs(), key)
  t.notMatch(logs(), bare)
})

t.test('any key opens /docs, whatever its scopes', async (t) => {
  const { another } = await build(t)
  const keys = new Map(SCOPES.map((scope) => [scope, newKey()]))
  const list = [...keys].map(([scope, key]) => `${scope}/${scope}:${key}`)
  const app = await another({ INTERNAL_API_KEYS: list.join(), DOCS: 'on' })
  for (const [scope, key] of keys) {
    t.equal((await app.inject({ url: '/docs/json', headers: bearer(key) })).statusCode, 200, scope)
    const password = Buffer.from(`ops:${key}`).toString('base64')
    t.equal((await app.inject({ url: '/docs/json', headers: { authorization: `Basic ${password}` } })).statusCode, 200)
  }
})

const read = (text: string) => {
  const issues = new Issues()
  const keys = readApiKeys(text, issues)
  issues.throwIfAny()
  return keys
}

const faultsOf = (text: string): string[] => {
  try {
    read(text)
    return []
  } catch (error) {
    return error instanceof SettingsError ? error.issues.map(({ problem }) => problem) : [String(error)]
  }
}

const K = 'k'.repeat(32)
const L = 'l'.repeat(32)

t.test('readApiKeys() reads keys, names and scopes', async (t) => {
  const base64 = `${'+/'.repeat(20)}==`
  t.same(read(K), [{ name: undefined, key: K, scopes: SCOPES }])
  t.same(read(base64), [{ name: undefined, key: base64, scopes: SCOPES }], 'without a colon nothing is a scope')
  t.same(read(` a:${K} ,B-2_x.y/pay:${L}`), [
    { name: 'a', key: K, scopes: SCOPES },
    { name: 'B-2_x.y', key: L, scopes: ['pay'] }
  ])
  t.same(read(`a/wechat+read+wechat:${base64}`), [{ name: 'a', key: base64, scopes: ['read', 'wechat'] }])
  t.same(read(`pay:${K}`), [{ name: 'pay', key: K, scopes: SCOPES }], 'a name may be the word of a scope')
  t.same(readApiKeys(undefined, new Issues()), [])
})

const RULE = /^entry 2 must be key, name:key or name\/scope\+scope:key/

const WRONG: ReadonlyArray<[what: string, entry: string, problem: RegExp]> = [
  ['a short key', 'l'.repeat(31), RULE],
  ['a short key with a name that makes it long', `shop:${'l'.repeat(31)}`, RULE],
  ['a name without a key', 'shop:', RULE],
  ['scopes without a key', `shop/pay+events+login+read+wechat:`, RULE],
  ['no name', `:${L}`, RULE],
  ['no name before the scopes', `/pay:${L}`, RULE],
  ['a long name', `${'n'.repeat(33)}:${L}`, RULE],
  ['a name with a blank', `my shop:${L}`, RULE],
  ['a name in Chinese', `商店:${L}`, RULE],
  ['a blank after the colon', `shop: ${L}`, RULE],
  ['two colons', `shop:pay:${L}`, RULE],
  ['a key that ends with a colon', `${L}:`, RULE],
  ['two lists of scopes', `shop/pay/events:${L}`, RULE],
  ['a blank in a key', `shop:${L} ${L}`, RULE],
  ['nothing', '', RULE],
  ['no scope', `shop/:${L}`, /^entry 2 names a scope that is none of read, login, events, pay, wechat$/],
  ['an unknown scope', `shop/pay+refunds:${L}`, /^entry 2 names a scope that is none of/],
  ['a scope in upper case', `shop/PAY:${L}`, /^entry 2 names a scope that is none of/],
  ['an empty scope', `shop/pay+:${L}`, /^entry 2 names a scope that is none of/],
  ['a blank beside a scope', `shop/pay +read:${L}`, /^entry 2 names a scope that is none of/],
  ['the same key', K, /^entry 2 has the same key as entry 1$/],
  ['the same key with another name and scope', `b/pay:${K}`, /^entry 2 has the same key as entry 1$/],
  ['the same name', `a/pay:${L}`, /^entry 2 has the same name as entry 1$/]
]

for (const [what, entry, problem] of WRONG) {
  t.test(`readApiKeys() refuses ${what}, by its number`, async (t) => {
    const found = faultsOf(`a:${K},${entry},z:${'z'.repeat(32)}`)
    t.match(found, [problem])
    t.equal(found.length, 1)
    t.notMatch(found.join(), /k{5}|l{5}|refunds|商店/, 'and shows none of it')
  })
}

t.test('readApiKeys() numbers the entries after a wrong one as they stand', async (t) => {
  t.match(faultsOf(`short,${K},${K}`), [/^entry 1 must/, /^entry 3 has the same key as entry 2$/])
})
