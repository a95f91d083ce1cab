/**
 * What the tests of v2 refund notices share: refunds that the sandbox knows, notices encrypted by hand, and the content
 * of Redis.
 */
import { createCipheriv, createHash } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance, InjectOptions } from 'fastify'
import type { Test } from 'tap'
import { makeMerchant, type Sandbox, startSandbox } from '../../../sandbox/index.ts'
import { APPID, type BuildOptions, build, type Environment, MCHID, type World } from '../../helper.ts'
import { ORDER } from '../internal/order.ts'
import { call } from '../internal/pay-world.ts'
import { type Fields, keysOf, notify, quarantined, recordedEvents, xml } from './notices.ts'

export const OUT_REFUND_NO = 'R20250101_0001'

const { merchant, secrets } = makeMerchant({ mchid: MCHID, appids: [APPID] })
export const API_V2_KEY = secrets.apiV2Key

const V3_KEYS: Environment = {
  WECHAT_PAY_API_V3_KEY: secrets.apiV3Key,
  WECHAT_PAY_CERT_SERIAL: secrets.certSerial,
  WECHAT_PAY_PUBLIC_KEY_ID: secrets.publicKeyId,
  WECHAT_PAY_PUBLIC_KEY: secrets.publicKeyPem
}

export interface RefundWorld extends World {
  /** The sandbox that is WeChat Pay here. */
  pay: Sandbox
  /** The URL of the endpoint, for the sandbox. */
  notifyUrls: string[]
  /** The webhook-id of the refund in this state. */
  idOf(state: string): string
  /** The refund as a notice tells it; `change` makes it another. */
  fields(change?: Fields): Fields
  /** A whole notice, sealed under the merchant's key. */
  sealed(change?: Fields, envelope?: Fields): string
}

export interface RefundWorldOptions extends Pick<BuildOptions, 'redis' | 'prepare'> {
  /** The merchant has the keys of APIv3 too, and order and refund are made by that. */
  v3?: boolean
  env?: Environment
}

/** A gateway that serves WeChat's notices, an order of 88 fen that was paid, and 30 of them on their way back. */
export async function buildRefund(
  t: Test,
  { v3 = false, env, ...options }: RefundWorldOptions = {}
): Promise<RefundWorld> {
  const pay = await startSandbox({ apps: [{ appid: APPID, secret: 'not used' }], merchants: [merchant] })
  t.teardown(() => pay.close())
  const world = await build(t, {
    ...options,
    env: {
      WECHAT_PAY_API_V2_KEY: API_V2_KEY,
      WECHAT_PAY_PRIVATE_KEY: secrets.privateKeyPem,
      WECHAT_PAY_CERT: secrets.certificatePem,
      WECHAT_PAY_ORIGIN: pay.origin,
      RECONCILE: 'off',
      ...(v3 && V3_KEYS),
      ...env
    }
  })
  const { app } = world
  const { prepayId } = (await call(app, 'orders', ORDER)).json()
  const { transactionId } = await pay.pay({ prepayId, times: 0 })
  const request = { outTradeNo: ORDER.outTradeNo, outRefundNo: OUT_REFUND_NO, amount: 30, total: ORDER.amount }
  const made = await call(app, 'refunds', request)
  if (made.statusCode !== 200) throw new Error(made.body)
  const { refundId } = made.json()
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  pay.clearCalls()

  function fields(change: Fields = {}): Fields {
    return {
      out_refund_no: OUT_REFUND_NO,
      out_trade_no: ORDER.outTradeNo,
      refund_account: 'REFUND_SOURCE_UNSETTLED_FUNDS',
      refund_fee: '30',
      refund_id: refundId,
      refund_recv_accout: 'bank card 0403',
      refund_status: 'SUCCESS',
      success_time: '2025-01-02 09:10:11',
      total_fee: '88',
      transaction_id: transactionId,
      ...change
    }
  }

  return {
    ...world,
    pay,
    notifyUrls: [`http://127.0.0.1:${port}/wechat/pay/v2/${MCHID}/refund`],
    idOf: (state) => `refund_${MCHID}_${refundId}_${state}`,
    fields,
    sealed: (change, envelope) => noticeOf(seal(rootOf(fields(change)), API_V2_KEY), envelope)
  }
}

export const rootOf = (fields: Fields): string =>
  xml(fields)
    .replace(/^<xml>/, '<root>')
    .replace(/<\/xml>$/, '</root>')

/** docs/wechat/pay.md A9 by hand. */
export function seal(plaintext: string, key: string): string {
  const aesKey = createHash('md5').update(key).digest('hex')
  const cipher = createCipheriv('aes-256-ecb', Buffer.from(aesKey, 'latin1'), null)
  return Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]).toString('base64')
}

export const noticeOf = (req_info: string, envelope: Fields = {}): string =>
  xml({ return_code: 'SUCCESS', appid: APPID, mch_id: MCHID, nonce_str: 'n', req_info, ...envelope })

/** Posts a refund notice as WeChat does. */
export const tell = (app: FastifyInstance, payload: string | Buffer, options: InjectOptions = {}) =>
  notify(app, payload, { url: `/wechat/pay/v2/${MCHID}/refund`, ...options })

/** The notices that wait for WeChat's word. */
export async function unconfirmed(app: FastifyInstance): Promise<string[]> {
  const jobs = `${app.keys.refundConfirmations}:refund-confirmation:refund_`
  const names = (await keysOf(app)).filter((name) => name.startsWith(jobs))
  return names.map((name) => name.slice(name.lastIndexOf(':') + 1))
}

/** Every refund event in the queue, in whatever state, by id. */
export const refundEvents = (app: FastifyInstance) => recordedEvents(app, /:webhook:refund_[^:]+$/)

/** The reason and the body of each quarantined callback, decrypted. */
export const putAside = async (app: FastifyInstance): Promise<string[]> =>
  (await quarantined(app)).map(({ door, owner, reason, body }) => `${door} ${owner} ${reason} ${body}`)
