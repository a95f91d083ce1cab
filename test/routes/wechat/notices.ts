/** What the tests of WeChat's callbacks share: notices signed by hand, and their traces in Redis. */
import { createHash, createHmac, randomInt } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { InjectOptions } from 'light-my-request'
import type { Test } from 'tap'
import { Orders } from '../../../lib/pay/records.ts'
import { settled } from '../../../lib/redis/connect.ts'
import type { PrivateRedis } from '../../../tools/redis.ts'
import { APPID, MCHID, type World } from '../../helper.ts'
import { RECORDED_ORDER } from '../../lib/pay/vector-payment.ts'
import { valuesOf } from '../metrics.ts'

/** Events stay in the queue, where they can be counted. */
export const NO_WORKER = { ROLES: 'api' }
/** A process that is overloaded as soon as it checks. */
export const FULL_HEAP = { maxHeapUsedBytes: 1, sampleIntervalMs: 50 }
export const XML = 'text/xml; charset=utf-8'

export const SUCCESS =
  '<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>'
export const FAIL = '<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[FAIL]]></return_msg></xml>'

export type Fields = Record<string, string>

/** A payment of 100 fen with a number of its own. */
export function payment(change: Fields = {}): Fields {
  return {
    appid: APPID,
    mch_id: MCHID,
    openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
    nonce_str: '5d2b6c2a8db53831f7eda20af46e531c',
    return_code: 'SUCCESS',
    result_code: 'SUCCESS',
    out_trade_no: 'T20250101_0001',
    transaction_id: `42000024${randomInt(1e12, 1e13)}`,
    total_fee: '100',
    time_end: '20250101080105',
    attach: 'from-the-payer',
    ...change
  }
}

/** docs/wechat/pay.md A2 by hand. */
export function sign(fields: Fields, key: string, algorithm: 'MD5' | 'HMAC-SHA256' = 'MD5'): string {
  const names = Object.keys(fields).filter((name) => fields[name] !== '' && name !== 'sign')
  const text = [...names.sort().map((name) => `${name}=${fields[name]}`), `key=${key}`].join('&')
  const digest = algorithm === 'MD5' ? createHash('md5') : createHmac('sha256', key)
  return digest.update(text).digest('hex').toUpperCase()
}

export const xml = (fields: Fields): string =>
  `<xml>${Object.entries(fields)
    .map(([name, value]) => `<${name}><![CDATA[${value}]]></${name}>`)
    .join('')}</xml>`

export const signed = (fields: Fields, key: string): string => xml({ ...fields, sign: sign(fields, key) })

/** Posts a callback as WeChat does. */
export function notify(app: FastifyInstance, payload: string | Buffer, { headers, ...rest }: InjectOptions = {}) {
  return app.inject({
    method: 'POST',
    url: `/wechat/pay/v2/${MCHID}/notify`,
    payload,
    ...rest,
    headers: { 'content-type': 'text/xml', ...headers }
  })
}

export type Answer = Awaited<ReturnType<typeof notify>>

/** Sends `times` callbacks at once, to two instances by turns. */
export function atOnce<Result>(
  times: number,
  [one, other]: readonly [FastifyInstance, FastifyInstance],
  send: (app: FastifyInstance) => Promise<Result>
): Promise<Result[]> {
  return Promise.all(Array.from({ length: times }, (_, index) => send(index % 2 === 0 ? one : other)))
}

export function answers(t: Test, answer: Answer, status: number, body = status === 200 ? SUCCESS : FAIL): void {
  t.equal(answer.statusCode, status)
  t.equal(answer.body, body)
  t.equal(answer.headers['content-type'], XML)
}

/** Records an order as `POST /internal/pay/orders` does before it calls WeChat. */
export async function remember(app: FastifyInstance, change: object = {}): Promise<void> {
  await new Orders(app.redis, app.keys).remember({ ...RECORDED_ORDER, appid: APPID, ...change })
}

/**
 * The names of all keys of this gateway, except the queue's own keys, the list of refused callbacks, and what is
 * written beside requests: the readiness probe, and the lists of certificates.
 */
export async function keysOf(app: FastifyInstance): Promise<string[]> {
  const prefix = app.keys.eventQueue.split(':')[0]
  const names = await app.redis.keys(`${prefix}:*`)
  return names
    .filter(
      (name) =>
        !/:webhook:(meta|id|events|marker|stalled-check)$|:\{events\}:waiting$/.test(name) &&
        !/:\{callbacks\}:refused$|:\{ready-\d+\}$|:certificates:/.test(name)
    )
    .sort()
}

export interface RecordedEvent {
  id: string
  type: string
  timestamp: string
  data: Record<string, unknown>
}

/** The payment events in the queue, in whatever state. */
export const eventsIn = (app: FastifyInstance) => recordedEvents(app, /:webhook:pay_[^:]+$/)

/** The events in the queue whose keys match `jobKey`, in whatever state. */
export async function recordedEvents(app: FastifyInstance, jobKey: RegExp): Promise<RecordedEvent[]> {
  const jobs = (await keysOf(app)).filter((name) => jobKey.test(name))
  const texts = await Promise.all(jobs.map((job) => app.redis.hget(job, 'data')))
  return texts.map((text) => {
    const { id, body } = JSON.parse(text ?? '')
    return { id, ...JSON.parse(body) }
  })
}

/** What lies in quarantine, opened. */
export async function quarantined({ callbacks: { quarantine } }: FastifyInstance) {
  const { items } = await quarantine.list({ limit: 100 })
  const entries = await Promise.all(items.map(({ id }) => quarantine.find(id)))
  return entries.map((entry) => {
    if (entry === undefined || entry === 'unopenable') throw new Error('an entry that is listed does not open')
    return { ...entry, body: entry.body.toString() }
  })
}

export type Counts = Record<string, number>

export function tally(kinds: Iterable<string>): Counts {
  const counts: Counts = {}
  for (const kind of kinds) counts[kind] = (counts[kind] ?? 0) + 1
  return counts
}

const isRefusal = (kind: string) => /^\S+ (?:refused|unknown-merchant|quarantined) /.test(kind)

/**
 * Every callback so far, and no other, was counted as `door verdict reason`, and has one line in the log without its
 * content. Callbacks that were not accepted are in the list for the operator. `unread`: refused before their bytes had
 * come.
 */
export async function counted(t: Test, { app, logs }: World, expected: Counts, unread: Counts = {}): Promise<void> {
  t.same(await valuesOf(app, 'callbacks_total'), { ...expected, ...unread }, 'counted')
  const { items } = await app.callbacks.refused.list({ limit: 1000 })
  const listed = items.map(({ door, verdict, reason }) => `${door} ${verdict} ${reason === verdict ? '' : reason}`)
  const refusals = Object.entries(expected).filter(([kind]) => isRefusal(kind))
  t.same(tally(listed), { ...Object.fromEntries(refusals), ...unread }, 'listed')
  t.same(tally(verdictsIn(logs())), tally(Object.entries(expected).flatMap(spread)), 'logged')
  t.notMatch(logs(), /oUpF8uMuAJO|from-the-payer|bank card|招商银行|ciphertext|req_info[^"]/, 'without content')
}

/** The callbacks that these instances counted together, as `door verdict reason`. */
export async function countedBy(instances: readonly FastifyInstance[]): Promise<Counts> {
  const counts = await Promise.all(instances.map((app) => valuesOf(app, 'callbacks_total')))
  return tally(counts.flatMap(Object.entries).flatMap(([kind, times]) => Array<string>(times).fill(kind)))
}

/** A callback without a verdict, because Redis is down, has a line without one. */
const spread = ([kind, times]: [string, number]): string[] => {
  const [, verdict = '', reason = ''] = kind.split(' ')
  return verdict === 'failed' ? [] : Array(times).fill(`${verdict} ${reason}`)
}

function verdictsIn(logs: string): string[] {
  const lines = logs.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
  const requests = lines.filter(({ msg, verdict }) => msg === 'request' && verdict !== undefined)
  return requests.map(({ verdict, reason = '' }) => `${verdict} ${reason}`)
}

/** How often an endpoint answered with this status, however far the callback came. */
export async function answeredBy(app: FastifyInstance, path: string, status: number): Promise<number> {
  return (await valuesOf(app, 'http_requests_total'))[`POST /wechat/pay/${path} ${status}`] ?? 0
}

type Trouble = readonly [begin: () => unknown, end: () => unknown]

/**
 * Every way in which Redis can fail, and how each ends. After silence the gateway has to recover with a new connection.
 */
export function redisTroubles(app: FastifyInstance, redis: PrivateRedis): Record<string, Trouble> {
  const isBack = () => settled(app.redis, 5000)
  return {
    readOnly: [() => app.redis.replicaof('127.0.0.1', '1'), () => app.redis.replicaof('NO', 'ONE')],
    full: [() => app.redis.config('SET', 'maxmemory', '1'), () => app.redis.config('SET', 'maxmemory', '0')],
    silent: [
      () => redis.pause(),
      () => {
        redis.resume()
        return isBack()
      }
    ],
    killed: [
      () => {
        redis.kill()
        return new Promise((resolve) => app.redis.once('close', resolve))
      },
      async () => {
        await redis.restart()
        await isBack()
      }
    ]
  }
}
