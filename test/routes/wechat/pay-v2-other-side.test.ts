/**
 * APIv2 against independent implementations: tenpay and wechatpay-axios-plugin sign what we accept, and verify what we
 * send.
 */
import { createRequire } from 'node:module'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { Aes, Formatter, Hash, Transformer } from 'wechatpay-axios-plugin'
import { makeMerchant } from '../../../sandbox/index.ts'
import { APPID, build, MCHID } from '../../helper.ts'
import { listenFor } from '../../listen.ts'
import { ORDER } from '../internal/order.ts'
import { call } from '../internal/pay-world.ts'
import { answers, eventsIn, type Fields, NO_WORKER, notify, payment } from './notices.ts'
import { API_V2_KEY, buildRefund, OUT_REFUND_NO, refundEvents, rootOf, tell } from './refund-notices.ts'

type Json = Record<string, string>

/** Its own types are not complete. */
interface Tenpay {
  urls: Record<string, string>
  _getSign(fields: Json, type?: string): string
  _parse(xml: string, type: string, signType?: string): Promise<Json & { req_info: Json }>
  _request(fields: Json, type: string): Promise<Json>
}
const Client: new (config: object) => Tenpay = createRequire(import.meta.url)('tenpay')
const { toObject, toXml } = Transformer as unknown as {
  toObject(xml: string): Json
  toXml(fields: Fields): string
}

const tenpayOf = (partnerKey: string): Tenpay => new Client({ appid: APPID, mchid: MCHID, partnerKey, pfx: 'none' })
const SIGN_TYPES = ['MD5', 'HMAC-SHA256'] as const

t.test('payment notices that wechatpay-axios-plugin signed and wrote are taken, by either algorithm', async (t) => {
  const { app, secrets } = await build(t, { env: NO_WORKER })
  const written = SIGN_TYPES.flatMap((type) =>
    [payment({ attach: '茶 <&>' }), payment({ sign_type: type, coupon_fee_10: '1', coupon_fee_2: '2' })].map((fields) =>
      toXml({ ...fields, sign: Hash.sign(type, fields, secrets.apiV2Key) })
    )
  )
  for (const body of written) answers(t, await notify(app, body), 200)
  t.equal((await eventsIn(app)).length, 4)
  const forged = payment()
  answers(t, await notify(app, toXml({ ...forged, sign: Hash.sign('MD5', forged, 'x'.repeat(32)) })), 401)
})

t.test('tenpay signs a payment notice, posts it, and reads our answer', async (t) => {
  const { app, backend, secrets } = await build(t)
  const address = await app.listen({ host: '127.0.0.1', port: 0 })
  const post = (fields: Fields, key: string) => {
    const tenpay = tenpayOf(key)
    // This is the only call for which it does not require a signed answer.
    tenpay.urls.getsignkey = `${address}/wechat/pay/v2/${MCHID}/notify`
    return tenpay._request(fields, 'getsignkey')
  }
  for (const sign_type of SIGN_TYPES) {
    const fields = payment({ sign_type })
    t.same({ ...(await post(fields, secrets.apiV2Key)) }, { return_code: 'SUCCESS', return_msg: 'OK' })
    const { data } = await backend.waitFor(({ id, accepted }) => accepted && id.includes(`${fields.transaction_id}`))
    t.match(data, { raw: { sign_type } })
  }
  await t.rejects(post(payment(), 'x'.repeat(32)), /request fail/, 'ours is 401')
})

t.test('a refund notice that wechatpay-axios-plugin sealed is taken, and tenpay opens it', async (t) => {
  const { app, pay, fields, idOf } = await buildRefund(t, { env: NO_WORKER })
  await pay.refund({ outRefundNo: OUT_REFUND_NO, times: 0 })
  const req_info = Aes.AesEcb.encrypt(rootOf(fields()), Hash.md5(API_V2_KEY))
  const body = toXml({ return_code: 'SUCCESS', appid: APPID, mch_id: MCHID, nonce_str: Formatter.nonce(), req_info })
  answers(t, await tell(app, body), 200)
  t.match(await refundEvents(app), [{ id: idOf('SUCCESS'), data: { raw: fields() } }])
  const { req_info: opened } = await tenpayOf(API_V2_KEY)._parse(body, 'middleware_refund')
  t.same({ ...opened }, fields())
})

t.test('both verify every request of ours and the paySign, and we take the answers that they sign', async (t) => {
  const asked: { path: string; fields: Json }[] = []
  const key = 'throwAwayApiV2Key000000000000001'
  const tenpay = tenpayOf(key)
  const { origin } = await listenFor(t, async (request, response) => {
    const fields = toObject(await text(request))
    asked.push({ path: request.url ?? '', fields })
    const { appid = '', mch_id = '' } = fields
    const common = { return_code: 'SUCCESS', result_code: 'SUCCESS', appid, mch_id, nonce_str: Formatter.nonce() }
    const answer = { ...common, trade_type: 'JSAPI', prepay_id: 'wx201410272009395522657a690389285100' }
    const sign = asked.length % 2 === 1 ? tenpay._getSign(answer, 'HMAC-SHA256') : Hash.sign('MD5', answer, key)
    response.end(toXml({ ...answer, sign }))
  })
  const { secrets } = makeMerchant({ mchid: MCHID, appids: [APPID] })
  const { app } = await build(t, {
    env: {
      ...NO_WORKER,
      WECHAT_PAY_ORIGIN: origin,
      WECHAT_PAY_API_V2_KEY: key,
      WECHAT_PAY_PRIVATE_KEY: secrets.privateKeyPem,
      WECHAT_PAY_CERT: secrets.certificatePem
    }
  })
  const order = { ...ORDER, attach: '茶 <&> ]]>', timeExpire: '2099-01-01T08:30:00+08:00' }
  const made = [await call(app, 'orders', order), await call(app, 'orders', { ...order, outTradeNo: 'T|*1234' })]
  const refund = { outTradeNo: ORDER.outTradeNo, outRefundNo: 'R@|*1', amount: 1, total: ORDER.amount, reason: '缺货' }
  await call(app, 'refunds', refund)
  await call(app, 'refunds/R@%7C*1')
  await call(app, `orders/${ORDER.outTradeNo}`)
  await call(app, `orders/${ORDER.outTradeNo}/close`, {})
  await call(app, 'bills/trade?date=2026-01-01')
  const apis = ['unifiedorder', 'refund', 'refundquery', 'orderquery', 'closeorder', 'downloadbill']
  t.same(new Set(asked.map(({ path }) => path.split('/').at(-1))), new Set(apis))
  for (const { path, fields } of asked) {
    const { sign, ...signed } = fields
    t.match(signed, { appid: APPID, mch_id: MCHID, sign_type: 'HMAC-SHA256', nonce_str: /^.{16,32}$/ })
    t.equal(Hash.sign('HMAC-SHA256', signed, key), sign, `${path} by wechatpay-axios-plugin`)
    t.equal(tenpay._getSign(signed, signed.sign_type), sign, `${path} by tenpay`)
  }
  for (const answer of made) {
    t.equal(answer.statusCode, 200, answer.body)
    const { paySign, ...params } = answer.json().payParams
    const signed = { appId: APPID, ...params }
    t.equal(Hash.sign(params.signType, signed, key), paySign, 'paySign by wechatpay-axios-plugin')
    t.equal(tenpay._getSign(signed, params.signType), paySign, 'paySign by tenpay')
  }
})
