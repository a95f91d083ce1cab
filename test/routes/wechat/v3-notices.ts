/** What the tests of APIv3 share: a merchant with the throw-away keys of the vectors, and callbacks signed by hand. */
import { createCipheriv, createPrivateKey, type KeyObject, randomBytes, randomInt, sign } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import type { InjectOptions } from 'light-my-request'
import type { Test } from 'tap'
import { startSandbox } from '../../../sandbox/index.ts'
import { APPID, type BuildOptions, build, MCHID } from '../../helper.ts'
import { vectors } from '../../vectors.ts'
import { recordedEvents } from './notices.ts'

export { quarantined } from './notices.ts'

export const FAIL = '{"code":"FAIL","message":"失败"}'

export const keys = vectors('pay-keys')

export const pemOf = (key: KeyObject): string => String(key.export({ type: 'pkcs8', format: 'pem' }))
export const privateKeyOf = (name: string): KeyObject => createPrivateKey({ key: keys[name].privateJwk, format: 'jwk' })

const certificateOf = (name: string) => ({
  certificatePem: keys[name].certPem,
  privateKeyPem: pemOf(privateKeyOf(name))
})
const publicKey = { id: keys.platformPublicKey.id, privateKeyPem: pemOf(privateKeyOf('platformPublicKey')) }

export type Mode = 'public-key' | 'certificates' | 'both'

/** A gateway and a sandbox of WeChat Pay that hold the keys of the vectors. `pay` is the sandbox that pays. */
export async function buildV3(
  t: Test,
  { mode = 'both', appid = APPID, ...options }: BuildOptions & { mode?: Mode; appid?: string } = {}
) {
  const pay = await startSandbox({
    apps: [{ appid, secret: 'not used' }],
    merchants: [
      {
        mchid: MCHID,
        apiV2Key: keys.apiV2Key,
        appids: [appid],
        certificatePem: keys.merchant.certPem,
        v3: {
          apiV3Key: keys.apiV3Key,
          ...(mode !== 'certificates' && { publicKey }),
          ...(mode !== 'public-key' && { certificates: [certificateOf('platformA'), certificateOf('platformB')] })
        }
      }
    ],
    ...(options.now && { now: options.now })
  })
  t.teardown(() => pay.close())
  const env = {
    WECHAT_APPID: appid,
    WECHAT_PAY_ORIGIN: pay.origin,
    WECHAT_PAY_API_V2_KEY: keys.apiV2Key,
    WECHAT_PAY_API_V3_KEY: keys.apiV3Key,
    WECHAT_PAY_CERT_SERIAL: keys.merchant.serial,
    WECHAT_PAY_PRIVATE_KEY: pemOf(privateKeyOf('merchant')),
    ...(mode !== 'certificates' && {
      WECHAT_PAY_PUBLIC_KEY_ID: keys.platformPublicKey.id,
      WECHAT_PAY_PUBLIC_KEY: keys.platformPublicKey.publicPem
    }),
    ...options.env
  }
  return { ...(await build(t, { ...options, env })), pay }
}

export interface Signed {
  headers: Record<string, string>
  body: string | Buffer
}

export interface Signing {
  key?: KeyObject
  serial?: string
  /** Unix seconds. */
  timestamp?: number
}

/** docs/wechat/pay.md B3 by hand, with the public key unless `signing` says otherwise. */
export function signed(body: string | Buffer, signing: Signing = {}): Signed {
  const { key = privateKeyOf('platformPublicKey'), serial = keys.platformPublicKey.id } = signing
  const { timestamp = Math.floor(Date.now() / 1000) } = signing
  const nonce = randomBytes(16).toString('hex')
  const message = Buffer.concat([Buffer.from(`${timestamp}\n${nonce}\n`), Buffer.from(body), Buffer.from('\n')])
  return {
    body,
    headers: {
      'content-type': 'application/json',
      'wechatpay-timestamp': String(timestamp),
      'wechatpay-nonce': nonce,
      'wechatpay-serial': serial,
      'wechatpay-signature': sign('sha256', message, key).toString('base64'),
      'wechatpay-signature-type': 'WECHATPAY2-SHA256-RSA2048'
    }
  }
}

/** Section B6 by hand. */
export function seal(plaintext: string, key: string = keys.apiV3Key) {
  const nonce = randomBytes(6).toString('hex')
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from('transaction'))
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]).toString('base64')
  return {
    original_type: 'transaction',
    algorithm: 'AEAD_AES_256_GCM',
    ciphertext,
    nonce,
    associated_data: 'transaction'
  }
}

/** The body of a callback about `resource`. */
export function envelope(resource: object, eventType = 'TRANSACTION.SUCCESS', change: object = {}): string {
  return JSON.stringify({
    id: `EV-${randomBytes(8).toString('hex')}`,
    create_time: '2025-01-01T08:01:06+08:00',
    resource_type: 'encrypt-resource',
    event_type: eventType,
    summary: '支付成功',
    resource: seal(JSON.stringify(resource)),
    ...change
  })
}

/** A payment of 100 fen with a number of its own. */
export const payment = (change: object = {}) => ({
  mchid: MCHID,
  appid: APPID,
  out_trade_no: 'T20250101_0001',
  transaction_id: `42000024${randomInt(1e12, 1e13)}`,
  trade_type: 'JSAPI',
  trade_state: 'SUCCESS',
  bank_type: 'OTHERS',
  attach: 'from-the-payer',
  success_time: '2025-01-01T08:01:05+08:00',
  payer: { openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o' },
  amount: { total: 100, payer_total: 88, currency: 'CNY', payer_currency: 'CNY' },
  ...change
})

/** A refund of 40 of 100 fen with a number of its own. */
export const refund = (change: object = {}) => ({
  mchid: MCHID,
  out_trade_no: 'T20250101_0001',
  transaction_id: '4200002400000000000001',
  out_refund_no: 'R20250101_0001',
  refund_id: `50300${randomInt(1e12, 1e13)}`,
  refund_status: 'SUCCESS',
  success_time: '2025-01-02T08:00:00+08:00',
  user_received_account: '招商银行信用卡0403',
  amount: { total: 100, refund: 40, payer_total: 100, payer_refund: 40 },
  ...change
})

/** Posts a callback as WeChat does. */
export function notify(
  app: FastifyInstance,
  { headers, body }: Signed,
  { headers: more, ...rest }: InjectOptions = {}
) {
  return app.inject({
    method: 'POST',
    url: `/wechat/pay/v3/${MCHID}/notify`,
    payload: body,
    ...rest,
    headers: { ...headers, ...more }
  })
}

export type Answer = Awaited<ReturnType<typeof notify>>

/** 204 without a body, or the one refusal. */
export function answers(t: Test, answer: Answer, status: number, name = 'answer'): void {
  t.equal(answer.statusCode, status, name)
  t.equal(answer.body, status === 204 ? '' : FAIL, name)
  t.equal(answer.headers['content-type'], status === 204 ? undefined : 'application/json; charset=utf-8', name)
}

/** Every event in the queue, in whatever state, by its id. */
export const eventsIn = (app: FastifyInstance) => recordedEvents(app, /:webhook:(pay|refund)_[^:]+$/)
