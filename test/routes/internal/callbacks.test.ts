/** Refused and quarantined callbacks as the merchant's backend sees them, and retrying a quarantined one. */
import { createHash } from 'node:crypto'
import type { InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { startRedis } from '../../../tools/redis.ts'
import { API_KEY, APPID, build, type Environment, MCHID } from '../../helper.ts'
import { bearer, refused, until } from '../api/client.ts'
import { eventsIn, NO_WORKER, notify, payment, quarantined, signed, xml } from '../wechat/notices.ts'
import { PLAIN, plainPush } from '../wechat/pushes.ts'
import { ask } from './backend.ts'

const REFUSED = '/internal/callbacks/refused'
const QUARANTINED = '/internal/callbacks/quarantined'
const OTHERS_KEY = 'x'.repeat(32)
const NOBODYS_MCHID = '1900000999'
const DAY_MS = 86_400_000

interface Page {
  items: Record<string, unknown>[]
  next?: string
}

async function start(t: Test, env: Environment = NO_WORKER) {
  let nowMs = Date.parse('2030-01-31T12:00:00.700Z')
  const world = await build(t, { env, now: () => nowMs })
  const { app, secrets } = world
  const list = async (url: string): Promise<Page> => (await ask(app, { url })).json()
  return {
    ...world,
    advance: (milliseconds: number) => {
      nowMs += milliseconds
    },
    forge: (change: Record<string, string> = {}, options: InjectOptions = {}) =>
      notify(app, signed(payment(change), OTHERS_KEY), options),
    /** Signed by WeChat, and of an app that is not the merchant's. */
    contradict: (change: Record<string, string> = {}) =>
      notify(app, signed(payment({ appid: 'wxfedcba9876543210', ...change }), secrets.apiV2Key)),
    refusedNow: (query = '') => list(REFUSED + query),
    quarantinedNow: (query = '') => list(QUARANTINED + query),
    retry: (id: unknown) => ask(app, { method: 'POST', url: `${QUARANTINED}/${id}/retry` })
  }
}

/** What is on all pages, from the first to the last. */
async function pages(list: (query: string) => Promise<Page>, limit: number): Promise<Page['items'][]> {
  const found: Page['items'][] = []
  let cursor: string | undefined = ''
  while (cursor !== undefined) {
    const page: Page = await list(`?limit=${limit}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`)
    found.push(page.items)
    cursor = page.next
  }
  return found
}

t.test('GET refused shows each door, reason and what tells a callback, and no secret or person', async (t) => {
  const { app, forge, contradict, refusedNow, logs } = await start(t, { ...NO_WORKER, ...PLAIN })
  t.same(await refusedNow(), { items: [] })
  const headers = { 'user-agent': 'Mozilla/4.0', 'x-request-id': 'req-1', 'wechatpay-serial': 'S'.repeat(300) }
  const fields = payment()
  const body = signed(fields, OTHERS_KEY)
  await notify(app, body, { headers })
  await notify(app, 'no xml')
  await notify(app, body, { url: `/wechat/pay/v2/${NOBODYS_MCHID}/notify` })
  await notify(app, body, { url: '/wechat/pay/v2/a%2Fb%0A/notify' })
  await contradict()
  await notify(app, body, { headers: { 'content-encoding': 'gzip' } })
  await notify(app, Buffer.alloc(1024 * 1024 + 1, 'x'))
  const push = plainPush('{}')
  const query: Record<string, string> = { ...push.query, signature: 'f'.repeat(40), encrypt_type: 'raw' }
  await app.inject({ method: 'POST', url: `/wechat/push/${APPID}`, query, payload: push.body })
  await app.inject({ method: 'GET', url: `/wechat/push/${APPID}`, query: { ...query, echostr: 'e' } })

  const { items } = await refusedNow()
  t.same(
    items.map(({ door, verdict, reason, mchid }) => [door, verdict, reason, mchid]),
    [
      ['push', 'refused', 'signature', undefined],
      ['push', 'refused', 'signature', undefined],
      ['pay-v2', 'refused', 'size', MCHID],
      ['pay-v2', 'refused', 'encoding', MCHID],
      ['pay-v2', 'quarantined', 'wrong-appid', MCHID],
      ['pay-v2', 'unknown-merchant', 'unknown-merchant', undefined],
      ['pay-v2', 'unknown-merchant', 'unknown-merchant', NOBODYS_MCHID],
      ['pay-v2', 'refused', 'shape', MCHID],
      ['pay-v2', 'refused', 'signature', MCHID]
    ]
  )
  t.same(items.at(-1), {
    time: '2030-01-31T12:00:00.700Z',
    door: 'pay-v2',
    verdict: 'refused',
    reason: 'signature',
    requestId: 'req-1',
    mchid: MCHID,
    bytes: body.length,
    sha256: createHash('sha256').update(body).digest('hex'),
    headers: {
      'content-type': 'text/xml',
      'content-length': String(body.length),
      'user-agent': 'Mozilla/4.0',
      'wechatpay-serial': 'S'.repeat(128)
    }
  })
  t.match(items[1], { appid: APPID, query: { timestamp: query.timestamp, nonce: query.nonce, encrypt_type: 'raw' } })
  const shown = JSON.stringify(items)
  for (const hidden of [fields.openid, fields.attach, query.signature, query.openid, 'sign', OTHERS_KEY])
    t.notMatch(shown.replaceAll('"signature"', ''), String(hidden))
  t.match(logs(), '"reqId":"req-1"')
  await forge()
  t.equal((await refusedNow('?limit=1')).items[0]?.reason, 'signature', 'newest first')
})

t.test('GET refused names the door on every route where WeChat calls', async (t) => {
  const doors: unknown[] = []
  await build(t, {
    prepare: (app) => {
      app.addHook('onRoute', ({ config }) => {
        if (config?.auth === 'wechat') doors.push(config.channel)
      })
    }
  })
  t.ok(doors.length >= 4)
  t.notOk(doors.includes(undefined))
})

t.test('GET refused goes page by page, while more come', async (t) => {
  const { app, forge, refusedNow } = await start(t)
  for (let number = 0; number < 130; number += 1) await forge({}, { headers: { 'x-request-id': `r${number}` } })
  const newest = Array.from({ length: 130 }, (_, number) => `r${129 - number}`)
  const found = await pages(refusedNow, 100)
  t.same(
    found.map(({ length }) => length),
    [100, 30]
  )
  t.same(
    found.flat().map(({ requestId }) => requestId),
    newest
  )
  t.equal((await refusedNow()).items.length, 20)
  const { next = '' } = await refusedNow('?limit=3')
  await forge({}, { headers: { 'x-request-id': 'later' } })
  t.same(
    (await refusedNow(`?limit=2&cursor=${next}`)).items.map(({ requestId }) => requestId),
    ['r126', 'r125']
  )
  t.ok((await app.redis.ttl(app.keys.refusedCallbacks)) > 86_400)
})

t.test('GET refused keeps the last thousand, from all instances', async (t) => {
  const { app, another, forge, refusedNow } = await start(t)
  const { redis, keys } = app
  for (let number = 0; number < 1000; number += 1)
    redis.xadd(
      keys.refusedCallbacks,
      '*',
      'entry',
      `{"time":"2030-01-31T12:00:00.000Z","door":"x","verdict":"x","reason":"x","requestId":"${number}","headers":{}}`
    )
  await redis.ping()
  const other = await another()
  await notify(other, signed(payment(), OTHERS_KEY), { headers: { 'x-request-id': 'other' } })
  await other.redis.ping()
  await forge({}, { headers: { 'x-request-id': 'one' } })
  const all = (await pages(refusedNow, 100)).flat().map(({ requestId }) => requestId)
  t.equal(all.length, 1000)
  t.same(all.slice(0, 3), ['one', 'other', '999'])
  t.equal(all.at(-1), '2')
})

t.test('a flood of forgeries costs Redis little, and hides nothing of another kind', async (t) => {
  const { app, forge, refusedNow } = await start(t)
  for (let number = 0; number < 1000; number += 1) await forge()
  await notify(app, 'no xml')
  const kept = (await pages(refusedNow, 100)).flat()
  const forged = kept.filter(({ reason }) => reason === 'signature').length
  t.ok(forged >= 200 && forged < 300, `${forged} of 1000 were written`)
  t.equal(kept[0]?.reason, 'shape')
})

t.test('a refusal is answered at once while Redis is silent or away, and is not kept', async (t) => {
  const redis = await startRedis()
  t.teardown(() => redis.stop())
  const { app } = await build(t, { env: NO_WORKER, redis })
  const body = signed(payment(), OTHERS_KEY)
  redis.pause()
  const startedAt = performance.now()
  t.equal((await notify(app, body)).statusCode, 401)
  t.ok(performance.now() - startedAt < 500, 'nobody waits')
  redis.resume()
  app.redis.disconnect()
  t.equal((await notify(app, body)).statusCode, 401)
  refused(t, await ask(app, { url: REFUSED }), 503, 'REDIS_UNAVAILABLE')
  refused(t, await ask(app, { url: QUARANTINED }), 503, 'REDIS_UNAVAILABLE')
})

t.test(
  'GET quarantined shows what waits for a person, once for each payment, and nothing that is sealed',
  async (t) => {
    const { app, advance, contradict, quarantinedNow } = await start(t)
    t.same(await quarantinedNow(), { items: [] })
    const transaction_id = '4200000000000000000000000001'
    await contradict({ transaction_id })
    advance(15_000)
    await contradict({ transaction_id })
    advance(1000)
    await contradict()
    const { items } = await quarantinedNow()
    t.equal(items.length, 2)
    const { id, ...shown } = items[1] ?? {}
    t.match(id, /^[\w-]{22}$/)
    t.same(shown, {
      identity: `pay_${MCHID}_${transaction_id}`,
      door: 'pay-v2',
      reason: 'wrong-appid',
      firstSeen: '2030-01-31T12:00:00.700Z',
      lastSeen: '2030-01-31T12:00:15.700Z',
      times: 2
    })
    const held = Object.values(await app.redis.hgetall(app.keys.quarantined(String(id)))).join(' ')
    t.notMatch(held, /from-the-payer|oUpF8uMuAJO/)
  }
)

t.test('GET quarantined goes page by page, while entries go and what is known comes again', async (t) => {
  const { app, advance, contradict, quarantinedNow } = await start(t)
  const ids = Array.from({ length: 120 }, (_, number) => `42000000000000000000000${10_000 + number}`)
  for (const [number, transaction_id] of ids.entries()) {
    advance(number % 2)
    await contradict({ transaction_id })
  }
  const found = await pages(quarantinedNow, 50)
  t.same(
    found.map(({ length }) => length),
    [50, 50, 20]
  )
  const all = found.flat()
  t.same(
    all.map(({ identity }) => identity).sort(),
    ids.map((id) => `pay_${MCHID}_${id}`)
  )
  const seen = all.map(({ firstSeen }) => String(firstSeen))
  t.same(seen, [...seen].sort().reverse())

  const { next = '' } = await quarantinedNow('?limit=10')
  advance(60_000)
  await contradict({ transaction_id: ids[0] ?? '' })
  await app.redis.del(app.keys.quarantined(String(all[9]?.id)))
  const rest = await quarantinedNow(`?limit=100&cursor=${next}`)
  t.same(
    rest.items.map(({ id }) => id),
    all.slice(10, 110).map(({ id }) => id)
  )
})

t.test('POST retry records with the settings of today, and takes the entry away; once, whoever asks', async (t) => {
  const { app, another, contradict, quarantinedNow, retry, secrets, logs } = await start(t)
  const OTHER = 'wxfedcba9876543210'
  await contradict()
  const [{ id, identity } = {}] = (await quarantinedNow()).items
  const stays = await retry(id)
  t.equal(stays.statusCode, 202)
  t.same(stays.json(), { verdict: 'quarantined', reason: 'wrong-appid', webhookId: identity })
  t.match(await quarantinedNow(), { items: [{ id, times: 1 }] }, 'a retry is no callback')
  t.same(await eventsIn(app), [])

  const mended = await another({ WECHAT_APPID: OTHER, WECHAT_SECRET: secrets.otherAppSecret })
  const call = { method: 'POST', url: `${QUARANTINED}/${id}/retry` } as const
  const answers = await Promise.all([ask(mended, call), ask(mended, call), ask(mended, call)])
  const recorded = answers.filter((answer) => answer.json().verdict === 'recorded')
  t.equal(recorded.length, 1)
  t.same(recorded[0]?.json(), { verdict: 'recorded', webhookId: identity })
  t.match(await eventsIn(app), [{ id: identity, data: { appid: OTHER } }])
  t.same(await quarantinedNow(), { items: [] })
  t.equal(await app.redis.exists(app.keys.quarantined(String(id))), 0)
  refused(t, await retry(id), 404, 'NOT_FOUND')
  t.match(logs(), new RegExp(`POST /internal/callbacks/quarantined/:id/retry"[^\n]*"webhookId":"${identity}"`))
})

t.test('POST retry verifies the signature again, and takes no entry that does not open', async (t) => {
  const { another, contradict, quarantinedNow } = await start(t)
  await contradict()
  const [{ id } = {}] = (await quarantinedNow()).items
  const call = { method: 'POST', url: `${QUARANTINED}/${id}/retry` } as const
  const verdicts: [Environment, object][] = [
    [{ WECHAT_PAY_API_V2_KEY: OTHERS_KEY }, { verdict: 'refused', reason: 'signature' }],
    [{ WECHAT_PAY_MCHID: NOBODYS_MCHID }, { verdict: 'unknown-merchant' }],
    [
      { ENCRYPTION_KEYS: `k1:${Buffer.alloc(32).toString('base64')}` },
      { verdict: 'quarantined', reason: 'encryption-key' }
    ],
    [
      { ENCRYPTION_KEYS: `k2:${Buffer.alloc(32).toString('base64')}` },
      { verdict: 'quarantined', reason: 'encryption-key' }
    ]
  ]
  for (const [change, verdict] of verdicts) {
    const answer = await ask(await another(change), call)
    t.equal(answer.statusCode, 202)
    t.same(answer.json(), verdict)
  }
  t.equal((await quarantinedNow()).items.length, 1)
})

t.test('POST retry leaves what came once more meanwhile, and what was recorded since is a duplicate', async (t) => {
  const { app, contradict, quarantinedNow, another, retry, secrets } = await start(t)
  const transaction_id = '4200000000000000000000000002'
  await contradict({ transaction_id })
  const [{ id } = {}] = (await quarantinedNow()).items
  const mended = await another({ WECHAT_APPID: 'wxfedcba9876543210', WECHAT_SECRET: secrets.otherAppSecret })
  const body = signed(payment({ appid: 'wxfedcba9876543210', transaction_id }), secrets.apiV2Key)
  t.equal((await notify(mended, body)).statusCode, 200, 'a repeat of WeChat')
  await app.callbacks.quarantine.remove(String(id), 1)
  t.equal((await quarantinedNow()).items.length, 1, 'it came at another time than the one that was settled')
  const answer = await ask(mended, { method: 'POST', url: `${QUARANTINED}/${id}/retry` })
  t.match(answer.json(), { verdict: 'duplicate' })
  t.same(await quarantinedNow(), { items: [] })
  t.equal((await eventsIn(app)).length, 1)
  refused(t, await retry(id), 404, 'NOT_FOUND')
})

t.test('an entry is kept for 32 days after it came last', async (t) => {
  const { app, contradict, quarantinedNow } = await start(t)
  await contradict()
  const [{ id } = {}] = (await quarantinedNow()).items
  for (const key of [app.keys.quarantined(String(id)), app.keys.quarantine]) {
    const leftMs = await app.redis.pttl(key)
    t.ok(leftMs > 31 * DAY_MS && leftMs <= 32 * DAY_MS, key)
  }
})

t.test('calls about callbacks refuse what is wrong, each with its own code', async (t) => {
  const { app, contradict, quarantinedNow } = await start(t)
  await contradict()
  const [{ id } = {}] = (await quarantinedNow()).items
  const calls: InjectOptions[] = [
    { url: REFUSED },
    { url: QUARANTINED },
    { method: 'POST', url: `${QUARANTINED}/${id}/retry` }
  ]
  for (const call of calls) {
    refused(t, await ask(app, { ...call, headers: {} }), 401, 'TOKEN_MISSING')
    refused(t, await ask(app, { ...call, headers: bearer(`${API_KEY}x`) }), 401, 'TOKEN_INVALID')
  }
  for (const wrong of ['x'.repeat(22), 'x', '*', '%2e%2e', 'a%2Fb', '%00', '%E4%BD%A0', `${id}x`, '__proto__'])
    refused(t, await ask(app, { method: 'POST', url: `${QUARANTINED}/${wrong}/retry` }), 404, 'NOT_FOUND')
  refused(t, await ask(app, { url: `${QUARANTINED}/${id}` }), 404, 'NOT_FOUND')
  for (const query of ['limit=0', 'limit=101', 'limit=', 'cursor=', 'cursor=x', 'cursor=-', 'cursor=1-', 'page=2'])
    for (const url of [REFUSED, QUARANTINED])
      refused(t, await ask(app, { url: `${url}?${query}` }), 400, 'FST_ERR_VALIDATION')
  t.equal(await quarantined(app).then(({ length }) => length), 1)
  t.equal((await notify(app, xml({}))).statusCode, 401)
})

t.test('what is damaged in Redis is left out of the lists, or shown as far as it goes', async (t) => {
  const { app, contradict, forge, quarantinedNow, refusedNow, retry } = await start(t)
  await contradict()
  const [{ id, identity } = {}] = (await quarantinedNow()).items
  const place = app.keys.quarantined(String(id))
  const never = '1970-01-01T00:00:00.000Z'
  const damages: [field: string, shown: object][] = [
    ['first', { firstSeen: never }],
    ['times', { times: 0 }],
    ['last', { lastSeen: never }]
  ]
  for (const [field, shown] of damages) {
    for (const text of ['', 'x', '-1', '1.5', '1e400', '9'.repeat(16)]) {
      await app.redis.hset(place, field, text)
      t.match(await quarantinedNow(), { items: [{ id, identity, ...shown }] }, `${field}: ${text}`)
    }
  }
  await app.redis.hset(place, 'sealed', 'x')
  t.equal((await retry(id)).json().reason, 'encryption-key')
  await app.redis.del(place)
  await app.redis.set(place, 'x')
  t.same(await quarantinedNow(), { items: [] })
  refused(t, await retry(id), 404, 'NOT_FOUND')

  await forge()
  await until(async () => (await refusedNow()).items.length > 0)
  const { items } = await refusedNow()
  for (const text of ['', 'x', '{', 'null', '1', '[]', '{}'])
    await app.redis.xadd(app.keys.refusedCallbacks, '*', 'entry', text)
  await app.redis.xadd(app.keys.refusedCallbacks, '*', 'another', 'field')
  t.same((await refusedNow()).items, items)
})
