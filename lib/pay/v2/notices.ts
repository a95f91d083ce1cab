/**
 * The callbacks of APIv2, and their answers. Payments (pay.weixin.qq.com/doc/v2/merchant/4011937248) are signed.
 * Refunds (pay.weixin.qq.com/doc/v2/partner/4011989265) are an unsigned envelope around `req_info`, which only opens
 * with the APIv2 key. That it opens hides and does not prove: blocks of two notices can be put together, old ones sent
 * again. So what a refund notice says is to be confirmed by a query before anybody acts on it.
 */
import { createDecipheriv, createSecretKey, hash } from 'node:crypto'
import type { CallbackReason } from '../../callbacks/model.ts'
import { parseFlatXml } from '../../xml/read.ts'
import { isWechatId, type NoticeReader, type PayNotice, paymentEvent } from '../model.ts'
import { type Fields, fieldOf, readPaymentV2, readRefundV2 } from './facts.ts'
import { verifyV2 } from './sign.ts'

/** WeChat compares these bodies as they are: nothing may stand around them. */
export const successReply =
  '<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>'
export const failReply =
  '<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[FAIL]]></return_msg></xml>'

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
const BLOCK_BYTES = 16
const JSON_START = /^\ufeff?\s*\{/

/** APIv3 sends JSON: at an address of APIv2 it shows a wrong setting of somebody (docs/wechat/pay.md E, row 29). */
const refused = (body: Buffer, reason: CallbackReason): PayNotice => ({
  status: 'refused',
  reason: JSON_START.test(body.toString('utf8', 0, 64)) ? 'wrong-door' : reason
})

/**
 * Reads one payment notice. The signature comes before everything the message says, also before an unsigned return_code
 * FAIL: that is a bad signature.
 */
export function readPaymentNotice(body: Buffer, apiV2Key: string): PayNotice {
  const xml = parseFlatXml(body)
  if (xml.status === 'refused') return refused(body, xml.reason)
  const { fields } = xml
  if (!verifyV2(fields, apiV2Key)) return { status: 'refused', reason: 'signature' }
  if (fields.get('return_code') !== 'SUCCESS' || fields.get('result_code') !== 'SUCCESS')
    return { status: 'not-success', said: identityOf(fields) }
  const read = readPaymentV2(fields)
  if (read.status === 'malformed') return read
  const { payment } = read
  if (!isWechatId(payment.transactionId)) return { status: 'malformed', reason: 'transaction_id' }
  const { outTradeNo, amount } = payment
  const said = { ...identityOf(fields), total: amount.total, currency: amount.currency }
  return { status: 'event', said, outTradeNo, event: (orderKnown) => paymentEvent(payment, orderKnown) }
}

/** Reads one refund notice. The inner XML is held to the same strict form as the outer one, with its root `root`. */
export function readRefundNotice(body: Buffer, apiV2Key: string): PayNotice {
  const xml = parseFlatXml(body)
  if (xml.status === 'refused') return refused(body, xml.reason)
  const opened = openReqInfo(fieldOf(xml.fields, 'req_info'), apiV2Key)
  const inner = opened && parseFlatXml(opened, { root: 'root' })
  if (inner?.status !== 'parsed') return { status: 'refused', reason: 'req_info' }
  const read = readRefundV2(inner.fields, { suffix: '', state: 'refund_status', successTime: 'success_time' })
  if (read.status === 'malformed') return read
  const refund = {
    api: 'v2' as const,
    ...read.refund,
    ...identityOf(xml.fields),
    raw: Object.fromEntries(inner.fields)
  }
  return { status: 'unsigned-refund', refund }
}

const identityOf = (fields: Fields) => ({ appid: fieldOf(fields, 'appid'), mchid: fieldOf(fields, 'mch_id') })

/** AES-256-ECB with PKCS#7, under the lower-case hex MD5 of the APIv2 key: 32 characters, leading zeros included. */
function openReqInfo(reqInfo: string, apiV2Key: string): Buffer | undefined {
  const sealed = BASE64.test(reqInfo) ? Buffer.from(reqInfo, 'base64') : Buffer.alloc(0)
  if (sealed.length === 0 || sealed.length % BLOCK_BYTES !== 0) return undefined
  const decipher = createDecipheriv('aes-256-ecb', createSecretKey(hash('md5', apiV2Key), 'ascii'), null)
  try {
    return Buffer.concat([decipher.update(sealed), decipher.final()])
  } catch {
    return undefined
  }
}

const CONTENT_TYPE = 'text/xml; charset=utf-8'

function readerOf(name: NoticeReader['name'], readNotice: (body: Buffer, apiV2Key: string) => PayNotice): NoticeReader {
  return {
    name,
    success: { contentType: CONTENT_TYPE, body: successReply },
    failure: { contentType: CONTENT_TYPE, body: failReply },
    statuses: { success: 200, refused: 401, compressed: 415, unknownMerchant: 404, quarantined: 500 },
    proofOf: () => ({}),
    read: async ({ apiV2Key }, { body }) =>
      apiV2Key === undefined ? undefined : { notice: readNotice(body, apiV2Key) }
  }
}

export const paymentNoticesV2 = readerOf('pay-v2', readPaymentNotice)
export const refundNoticesV2 = readerOf('pay-v2-refund', readRefundNotice)
