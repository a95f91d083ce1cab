/** POST /secapi/pay/refund (v2): by TLS with the merchant's certificate, where the sandbox was told so. */
import { X509Certificate } from 'node:crypto'
import { TLSSocket } from 'node:tls'
import { serialOf } from '../state/platform-keys.ts'
import { type Refund, type RefundRefusal, RefundRefused, type RefundRequest } from '../state/refunds.ts'
import type { World } from '../world.ts'
import { BusinessRefused, type Message, payV2 } from './pay-v2.ts'
import type { Answer, Incoming, Upstream } from './serve.ts'
import { checkIdentities, optional, required } from './v2-fields.ts'

const CODES: Record<RefundRefusal, string> = {
  'no order': 'ORDERNOTEXIST',
  'not paid': 'TRADE_STATE_ERROR',
  'other total': 'PARAM_ERROR',
  'other content': 'REFUND_FEE_MISMATCH',
  'too much': 'ERROR',
  'too many': 'ERROR',
  overdue: 'TRADE_OVERDUE'
}

function fenOf(message: Message, name: string): number {
  const text = required(message, name)
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new BusinessRefused('PARAM_ERROR', `参数错误:${name}`)
  return Number(text)
}

function requestOf(message: Message): RefundRequest {
  const transactionId = optional(message, 'transaction_id')
  const notifyUrl = optional(message, 'notify_url')
  const reason = optional(message, 'refund_desc')
  const outRefundNo = required(message, 'out_refund_no')
  if (!/^[0-9A-Za-z_|*@-]{1,64}$/.test(outRefundNo)) throw new BusinessRefused('PARAM_ERROR', '参数错误:out_refund_no')
  return {
    api: 'v2',
    mchid: message.merchant.mchid,
    ...(transactionId === undefined ? { outTradeNo: required(message, 'out_trade_no') } : { transactionId }),
    outRefundNo,
    refundFen: fenOf(message, 'refund_fee'),
    totalFen: fenOf(message, 'total_fee'),
    ...(reason === undefined ? {} : { reason }),
    ...(notifyUrl === undefined ? {} : { notifyUrl })
  }
}

function request(world: World, message: Message): Refund {
  try {
    return world.refunds.request(requestOf(message))
  } catch (error) {
    if (!(error instanceof RefundRefused)) throw error
    throw new BusinessRefused(CODES[error.refusal], error.message)
  }
}

function refundFields({ order, refundFen, ...refund }: Refund): Record<string, string> {
  const [total, part] = [String(order.totalFen), String(refundFen)]
  return {
    transaction_id: refund.transactionId,
    out_trade_no: order.outTradeNo,
    out_refund_no: refund.outRefundNo,
    refund_id: refund.refundId,
    refund_channel: 'ORIGINAL',
    refund_fee: part,
    settlement_refund_fee: part,
    coupon_refund_fee: '0',
    coupon_refund_count: '0',
    total_fee: total,
    settlement_total_fee: total,
    fee_type: order.currency,
    cash_fee: total,
    cash_refund_fee: part
  }
}

const plain = payV2({
  api: 'refund',
  url: '/secapi/pay/refund',
  work(world, message) {
    checkIdentities(world, message)
    return refundFields(request(world, message))
  }
})

/** What the client showed in the handshake; undefined by plain http too. */
function clientCertificate({ socket }: Incoming): X509Certificate | undefined {
  const raw = socket instanceof TLSSocket ? socket.getPeerCertificate().raw : undefined
  return raw === undefined ? undefined : new X509Certificate(raw)
}

const NO_CERTIFICATE = [
  '<html>',
  '<head><title>400 No required SSL certificate was sent</title></head>',
  '<body><center><h1>400 Bad Request</h1></center></body>',
  '</html>',
  ''
].join('\r\n')

/** As WeChat's web server does it: an HTML page, and the request is not read. */
function turnedAway(): Answer {
  return { contentType: 'text/html', status: 400, body: NO_CERTIFICATE, errcode: 'no client certificate' }
}

/** The very certificate that one of the merchants was given. Whose it is shows when the message names its merchant. */
function isMerchants({ merchants }: World, certificate: X509Certificate | undefined, mchid: string | undefined) {
  const pem = merchants.get(mchid ?? '')?.certificatePem
  return pem !== undefined && certificate?.fingerprint256 === new X509Certificate(pem).fingerprint256
}

function guarded(world: World, incoming: Incoming, answer: () => Answer): Answer {
  const { mchid } = plain.describe(world, incoming)
  if (!world.refundsNeedCertificate || isMerchants(world, clientCertificate(incoming), mchid)) return answer()
  return turnedAway()
}

export const v2Refund: Upstream = {
  ...plain,
  describe(world, incoming) {
    const certificate = clientCertificate(incoming)
    return { ...plain.describe(world, incoming), ...(certificate && { clientCertSerial: serialOf(certificate) }) }
  },
  answer: (world, incoming, fault) => guarded(world, incoming, () => plain.answer(world, incoming, fault)),
  refuse: (world, incoming, fault) => guarded(world, incoming, () => plain.refuse(world, incoming, fault))
}
