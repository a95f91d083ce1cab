/** Whole APIv3 callbacks of the published vectors, posted at their time, with both kinds of platform keys. */
import t from 'tap'
import { vectors } from '../../vectors.ts'
import { NO_WORKER, remember } from './notices.ts'
import { answers, buildV3, eventsIn, keys, notify, quarantined } from './v3-notices.ts'

const { cases } = vectors('pay-v3-notify')

/** The status of each kind in the vectors (docs/wechat/pay.md E). */
const STATUS: Record<string, number> = {
  accept: 204,
  'bad-signature': 401,
  stale: 401,
  'unknown-serial': 401,
  'missing-header': 401,
  malformed: 500,
  undecryptable: 500,
  'wrong-merchant': 500,
  'wrong-appid': 500,
  'amount-mismatch': 500
}

t.test('every vector gets its status through the door, and what it says is stored or not', async (t) => {
  let nowMs = 0
  const { app, logs } = await buildV3(t, { env: NO_WORKER, appid: keys.appid, now: () => nowMs })
  await remember(app, { api: 'v3', appid: keys.appid, openid: keys.openid })
  const seen: Record<string, number> = {}
  for (const { name, input, expected } of cases) {
    nowMs = input.now * 1000
    const answer = await notify(app, { headers: input.headers, body: input.body })
    answers(t, answer, STATUS[expected.verdict] ?? 0, name)
    seen[expected.verdict] = (seen[expected.verdict] ?? 0) + 1
  }
  t.same(seen, {
    accept: 14,
    'amount-mismatch': 1,
    'wrong-appid': 1,
    'wrong-merchant': 1,
    'bad-signature': 2,
    stale: 2,
    'unknown-serial': 2,
    'missing-header': 1,
    undecryptable: 3,
    malformed: 5
  })
  t.same((await eventsIn(app)).map(({ id, type }) => `${type} ${id}`).sort(), [
    'payment.succeeded pay_1900000109_4200002400202501011234567890',
    'refund.abnormal refund_1900000109_50302500002025010112345678901_ABNORMAL',
    'refund.closed refund_1900000109_50302500002025010112345678901_CLOSED',
    'refund.succeeded refund_1900000109_50302500002025010112345678901_SUCCESS'
  ])
  t.same((await quarantined(app)).map(({ reason }) => reason).sort(), [
    'body',
    'body',
    'other-event',
    'resource',
    'resource',
    'resource',
    'unopenable',
    'unopenable',
    'unopenable',
    // The other appid; the other amount of the same payment had its place before.
    'wrong-appid',
    'wrong-merchant'
  ])
  t.notMatch(logs(), keys.openid)
})
