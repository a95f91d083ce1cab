/**
 * APIv3 against an independent implementation: wechatpay-axios-plugin signs what we accept, and verifies what we send.
 */
import type { IncomingHttpHeaders } from 'node:http'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { Aes, Formatter, Rsa } from 'wechatpay-axios-plugin'
import { APPID, MCHID } from '../../helper.ts'
import { listenFor } from '../../listen.ts'
import { NO_WORKER } from './notices.ts'
import {
  answers,
  buildV3,
  envelope,
  eventsIn,
  keys,
  notify,
  payment,
  privateKeyOf,
  refund,
  type Signed
} from './v3-notices.ts'

/** Sealed and signed by the other side. */
function noticeOf(resource: object, eventType: string): Signed {
  const nonce = Formatter.nonce(12)
  const data = 'transaction'
  const ciphertext = Aes.AesGcm.encrypt(JSON.stringify(resource), keys.apiV3Key, nonce, data)
  const sealed = { algorithm: 'AEAD_AES_256_GCM', ciphertext, nonce, associated_data: data }
  const body = envelope({}, eventType, { resource: sealed })
  const timestamp = String(Formatter.timestamp())
  const signedNonce = Formatter.nonce()
  const message = Formatter.response(timestamp, signedNonce, body)
  return {
    body,
    headers: {
      'content-type': 'application/json',
      'wechatpay-timestamp': timestamp,
      'wechatpay-nonce': signedNonce,
      'wechatpay-serial': keys.platformPublicKey.id,
      'wechatpay-signature': Rsa.sign(message, privateKeyOf('platformPublicKey'))
    }
  }
}

t.test('callbacks that wechatpay-axios-plugin sealed and signed are taken', async (t) => {
  const { app } = await buildV3(t, { mode: 'public-key', env: NO_WORKER })
  answers(t, await notify(app, noticeOf(payment(), 'TRANSACTION.SUCCESS')), 204)
  answers(t, await notify(app, noticeOf(refund(), 'REFUND.SUCCESS')), 204)
  t.same((await eventsIn(app)).map(({ type }) => type).sort(), ['payment.succeeded', 'refund.succeeded'])
})

interface Asked {
  method: string
  url: string
  headers: IncomingHttpHeaders
  body: string
}

t.test('wechatpay-axios-plugin verifies every request of ours, and the paySign', async (t) => {
  const asked: Asked[] = []
  const { origin } = await listenFor(t, async (request, response) => {
    const { method = '', url = '', headers } = request
    asked.push({ method, url, headers, body: await text(request) })
    const body = JSON.stringify({ prepay_id: 'wx201410272009395522657a690389285100' })
    const timestamp = String(Formatter.timestamp())
    const nonce = Formatter.nonce()
    const signature = Rsa.sign(Formatter.response(timestamp, nonce, body), privateKeyOf('platformPublicKey'))
    response.setHeader('wechatpay-timestamp', timestamp).setHeader('wechatpay-nonce', nonce)
    response.setHeader('wechatpay-serial', keys.platformPublicKey.id).setHeader('wechatpay-signature', signature)
    response.end(body)
  })
  const { app } = await buildV3(t, { mode: 'public-key', env: { ...NO_WORKER, WECHAT_PAY_ORIGIN: origin } })
  const { api } = app.pay.v3
  const merchant = { mchid: MCHID, appids: [APPID] }
  const order = { outTradeNo: 'T|*1234', openid: 'o1', totalFen: 1, currency: 'CNY', description: '茶', createdAt: 0 }
  const outcome = await api.prepay(merchant, { api: 'v3', appid: APPID, mchid: MCHID, ...order })
  const request = { outRefundNo: 'R@|*1', outTradeNo: 'T|*1234', amount: 1, total: 1 }
  await Promise.allSettled([
    api.query(merchant, 'T|*1234'),
    api.close(merchant, 'T|*1234'),
    api.refund(merchant, request),
    api.queryRefund(merchant, 'R@|*1'),
    api.bill(merchant, { kind: 'trade', date: '2026-01-01' })
  ])
  for (const { method, url, headers, body } of asked) {
    const fields = [...(headers.authorization ?? '').matchAll(/(\w+)="([^"]*)"/g)]
    const {
      mchid,
      timestamp = '',
      nonce_str = '',
      signature = '',
      serial_no
    } = Object.fromEntries(fields.map(([, name, value]) => [name, value]))
    t.match({ mchid, serial_no }, { mchid: MCHID, serial_no: keys.merchant.serial })
    const message = Formatter.request(method, url, timestamp, nonce_str, body)
    t.ok(Rsa.verify(message, signature, keys.merchant.publicPem), `${method} ${url}`)
    t.match(headers, { 'user-agent': 'wxgate', accept: 'application/json', 'wechatpay-serial': /^PUB_KEY_ID_/ })
  }
  t.ok(asked.length >= 6)
  if (outcome.status !== 'made') throw outcome.error
  const { timeStamp, nonceStr, package: prepay, paySign } = outcome.payParams
  const paid = Formatter.joinedByLineFeed(APPID, timeStamp, nonceStr, prepay)
  t.ok(Rsa.verify(paid, paySign, keys.merchant.publicPem), 'paySign')
})
