/** Every published vector of notices and of hostile XML, posted to a gateway that serves the vectors' merchant. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { build } from '../../helper.ts'
import { vectors } from '../../vectors.ts'
import {
  eventsIn,
  FAIL,
  type Fields,
  keysOf,
  NO_WORKER,
  notify,
  quarantined,
  remember,
  SUCCESS,
  XML
} from './notices.ts'

interface Keys {
  appid: string
  mchid: string
  openid: string
  apiV2Key: string
}

interface Order {
  outTradeNo: string
  appid: string
  mchid: string
  totalFee: number
  currency: string
}

interface Case {
  name: string
  input: { body?: string; bodyBase64?: string; contentType?: string; order?: Order | null }
  expected: { verdict: string; fields?: Fields }
}

interface Vectors {
  fields: Fields
  successReply: string
  failReply: string
  cases: Case[]
}

const keys = vectors<Keys>('pay-keys')

/** The answer to each verdict in docs/wechat/pay.md E. */
const STATUS: Record<string, number> = {
  accept: 200,
  'not-success': 200,
  'bad-signature': 401,
  malformed: 401,
  reject: 401,
  'wrong-appid': 500,
  'wrong-merchant': 500,
  'amount-mismatch': 500
}

async function gateway(t: Test): Promise<FastifyInstance> {
  const env = {
    WECHAT_APPID: keys.appid,
    WECHAT_PAY_MCHID: keys.mchid,
    WECHAT_PAY_API_V2_KEY: keys.apiV2Key,
    ...NO_WORKER
  }
  return (await build(t, { env })).app
}

async function forget(app: FastifyInstance): Promise<void> {
  const names = await keysOf(app)
  if (names.length > 0) await app.redis.del(...names)
}

/** Posts one case and checks answer and traces. All cases are the same payment, so each starts from nothing. */
async function check(t: Test, app: FastifyInstance, { name, input, expected }: Case, fields?: Fields): Promise<void> {
  await forget(app)
  if (input.order) await remember(app, { ...input.order, totalFen: input.order.totalFee })
  const before = await keysOf(app)
  const body = Buffer.from(input.body ?? input.bodyBase64 ?? '', input.body === undefined ? 'base64' : 'utf8')
  const answer = await notify(app, body, { headers: { 'content-type': input.contentType ?? 'text/xml' } })

  const status = STATUS[expected.verdict]
  t.equal(answer.statusCode, status, `${name}: ${expected.verdict}`)
  t.equal(answer.body, status === 200 ? SUCCESS : FAIL, name)
  t.equal(answer.headers['content-type'], XML, name)

  const { sign: _, ...raw } = fields ?? {}
  const events = expected.verdict === 'accept' ? [{ raw, orderKnown: Boolean(input.order) }] : []
  t.match(
    (await eventsIn(app)).map(({ data }) => data),
    events,
    name
  )
  t.equal((await eventsIn(app)).length, events.length, name)
  t.equal((await quarantined(app)).length, status === 500 ? 1 : 0, name)
  if (status === 401 || expected.verdict === 'not-success') t.same(await keysOf(app), before, `${name}: no trace`)
}

t.test('POST notify answers all 31 payment notices as their verdicts ask for', async (t) => {
  const { cases, successReply, failReply } = vectors<Vectors>('pay-v2-pay-notify')
  t.same([successReply, failReply], [SUCCESS, FAIL])
  const app = await gateway(t)
  for (const each of cases) await check(t, app, each, each.expected.fields)
  t.equal(cases.length, 31)
  t.equal(cases.filter(({ expected }) => expected.verdict === 'accept').length, 15)
})

t.test('POST notify takes the 6 harmless spellings and refuses all 38 hostile ones, quickly', async (t) => {
  const { cases, fields } = vectors<Vectors>('pay-xml-hostile')
  const app = await gateway(t)
  const startedAt = performance.now()
  for (const each of cases) await check(t, app, each, fields)
  t.ok(performance.now() - startedAt < 5000)
  t.equal(cases.filter(({ expected }) => expected.verdict === 'accept').length, 6)
  t.equal(cases.filter(({ expected }) => expected.verdict === 'reject').length, 38)
})

t.test('POST notify gives up on 20,000 nested elements, in the time that its bytes take', async (t) => {
  const app = await gateway(t)
  const deep = `<xml>${'<a>'.repeat(20_000)}`
  const startedAt = performance.now()
  await check(t, app, { name: 'deep', input: { body: deep }, expected: { verdict: 'malformed' } })
  t.ok(performance.now() - startedAt < 1000)
})
