/**
 * WeChat Pay by APIv3, in the shape that both APIs share (docs/wechat/pay.md B9 to B12): what is asked, and how answers
 * that went well are read.
 */
import type { ServiceError } from '../../errors.ts'
import type { Merchant } from '../../settings/model.ts'
import { toBeijingRfc3339 } from '../../util/beijing-time.ts'
import { makeNonce } from '../../util/bytes.ts'
import {
  type Bill,
  type BillRequest,
  ORDER_STATES,
  type OrderRecord,
  type OrderStatus,
  type PayApi,
  type PrepayOutcome,
  type RefundRequest,
  type RefundStatus,
  type RefundTry
} from '../model.ts'
import { openBillV3 } from './bill.ts'
import type { ClientV3, SenderV3 } from './client.ts'
import { payParamsV3 } from './crypto.ts'
import { asServiceErrorV3, unusableAnswerV3 } from './errors.ts'
import { FieldReader, type JsonFields, parseJsonObject, readAmount } from './fields.ts'
import type { AccountsV3 } from './keys.ts'
import { type RefundFactsV3, readRefundV3 } from './notices/refund.ts'

const PATHS = {
  prepay: '/v3/pay/transactions/jsapi',
  order: '/v3/pay/transactions/out-trade-no',
  refund: '/v3/refund/domestic/refunds',
  bill: '/v3/bill'
} as const

export interface PayApiOptionsV3 {
  accounts: AccountsV3
  client: ClientV3
  sender: SenderV3
  /** Where WeChat reaches us, without a trailing slash. */
  publicUrl: string
  /** Milliseconds since 1970. */
  now: () => number
}

/**
 * Beside the codes of PayApi, WECHAT_CONFIG_INVALID also means that a setting of ours is missing; the message names it.
 */
export class PayApiV3 implements PayApi {
  readonly #options: PayApiOptionsV3

  constructor(options: PayApiOptionsV3) {
    this.#options = options
  }

  async prepay(merchant: Merchant, order: OrderRecord): Promise<PrepayOutcome> {
    const { accounts, client, now } = this.#options
    const credentials = accounts.of(merchant)
    const body = orderFields(order, this.#notifyUrl(merchant))
    const outcome = await client.send(credentials, { call: 'prepay', method: 'POST', path: PATHS.prepay, body })
    if (outcome.status === 'failed') return { status: 'refused', error: outcome.error, mayExist: outcome.mayBeDone }
    const read = readPrepayV3(outcome.body)
    if (read.status === 'bad')
      return { status: 'refused', error: unusableAnswerV3('prepay', read.reason), mayExist: true }
    const { prepayId } = read.answer
    const timeStamp = String(Math.floor(now() / 1000))
    const { privateKey } = credentials
    const payParams = payParamsV3({ appid: order.appid, prepayId, privateKey, timeStamp, nonceStr: makeNonce() })
    return { status: 'made', prepayId, payParams }
  }

  async query(merchant: Merchant, outTradeNo: string): Promise<OrderStatus> {
    const { accounts, client } = this.#options
    const { mchid } = merchant
    const path = `${orderPath(outTradeNo)}?mchid=${mchid}`
    const body = await client.get(accounts.of(merchant), { call: 'query', method: 'GET', path })
    const read = readOrderV3(body, { mchid })
    if (read.status === 'bad') throw unusableAnswerV3('query', read.reason)
    if (read.answer.outTradeNo !== outTradeNo) throw unusableAnswerV3('query', 'out_trade_no')
    return read.answer
  }

  /** Closing what is closed is done; what is paid stays so, and is refused as PAY_REJECTED. */
  async close(merchant: Merchant, outTradeNo: string): Promise<void> {
    const { accounts, client } = this.#options
    const body = { mchid: merchant.mchid }
    const path = `${orderPath(outTradeNo)}/close`
    const outcome = await client.send(accounts.of(merchant), { call: 'close', method: 'POST', path, body })
    if (outcome.status === 'failed' && outcome.error.wechat?.code !== 'ORDER_CLOSED') throw outcome.error
  }

  async refund(merchant: Merchant, request: RefundRequest): Promise<RefundTry> {
    const { accounts, client } = this.#options
    const body = refundFields(request, this.#notifyUrl(merchant))
    const call = { call: 'refund', method: 'POST', path: PATHS.refund, body } as const
    const outcome = await client.send(accounts.of(merchant), call)
    if (outcome.status === 'failed') return { ...outcome, status: 'refused' }
    const read = readStatus(merchant.mchid, outcome.body, request.outRefundNo)
    return read.status === 'read' ? { status: 'made', refund: read.refund } : { ...read, queryFirst: true }
  }

  async queryRefund(merchant: Merchant, outRefundNo: string): Promise<RefundStatus> {
    const { accounts, client } = this.#options
    const path = `${PATHS.refund}/${encodeURIComponent(outRefundNo)}`
    const body = await client.get(accounts.of(merchant), { call: 'refund-query', method: 'GET', path })
    const read = readStatus(merchant.mchid, body, outRefundNo)
    if (read.status === 'read') return read.refund
    throw read.error
  }

  async bill(merchant: Merchant, request: BillRequest): Promise<Bill> {
    const { accounts, client, sender } = this.#options
    const credentials = accounts.of(merchant)
    const body = await client.get(credentials, { call: 'bill', method: 'GET', path: billPath(request) })
    const read = readBillV3(body)
    if (read.status === 'bad') throw unusableAnswerV3('bill', read.reason)
    const { hashValue, path } = read.answer
    const got = await sender.open(credentials, 'bill', path)
    if (got.status === 'open') return { csv: openBillV3(got.file, { hashValue, isGzip: true }) }
    throw asServiceErrorV3('bill', got.answer.status, got.answer.body)
  }

  /** Always sent, so that no setting in WeChat's platform decides. */
  #notifyUrl({ mchid }: Merchant): string {
    return `${this.#options.publicUrl}/wechat/pay/v3/${mchid}/notify`
  }
}

const orderPath = (outTradeNo: string): string => `${PATHS.order}/${encodeURIComponent(outTradeNo)}`

function billPath({ kind, date }: BillRequest): string {
  const which = kind === 'trade' ? 'tradebill?bill_type=ALL' : 'fundflowbill?account_type=BASIC'
  return `${PATHS.bill}/${which}&bill_date=${encodeURIComponent(date)}&tar_type=GZIP`
}

/** What is undefined is left out of the JSON: WeChat takes no null. */
function orderFields(order: OrderRecord, notifyUrl: string) {
  const { appid, mchid, openid, outTradeNo, description, totalFen, currency, attach, timeExpire } = order
  return {
    appid,
    mchid,
    description,
    out_trade_no: outTradeNo,
    time_expire: timeExpire && toBeijingRfc3339(timeExpire),
    attach,
    notify_url: notifyUrl,
    amount: { total: totalFen, currency },
    payer: { openid }
  }
}

function refundFields(request: RefundRequest, notifyUrl: string) {
  const { transactionId, outTradeNo, outRefundNo, amount, total, reason } = request
  return {
    ...(transactionId === undefined ? { out_trade_no: outTradeNo } : { transaction_id: transactionId }),
    out_refund_no: outRefundNo,
    reason,
    notify_url: notifyUrl,
    amount: { refund: amount, total, currency: 'CNY' }
  }
}

function readStatus(
  mchid: string,
  body: Buffer,
  outRefundNo: string
): { status: 'read'; refund: RefundStatus } | { status: 'refused'; error: ServiceError } {
  const read = readRefundAnswerV3(body)
  if (read.status === 'bad') return { status: 'refused', error: unusableAnswerV3('refund', read.reason) }
  if (read.answer.outRefundNo === outRefundNo) return { status: 'read', refund: { api: 'v3', mchid, ...read.answer } }
  return { status: 'refused', error: unusableAnswerV3('refund', 'out_refund_no') }
}

/** Of a verified body. `reason` is the place of the fault, such as `amount.total`, or `body`. */
export type AnswerV3<T> = { status: 'ok'; answer: T } | { status: 'bad'; reason: string }

/** A prepay_id lives two hours. */
export function readPrepayV3(body: Buffer): AnswerV3<{ prepayId: string }> {
  return readAnswer(body, (fields) => ({ prepayId: fields.text('prepay_id') }))
}

/** A queried order; one of another merchant than `mchid` is refused as `mchid`. */
export function readOrderV3(body: Buffer, { mchid }: { mchid: string }): AnswerV3<OrderStatus> {
  return readAnswer(body, (fields, raw) => ({
    api: 'v3',
    appid: fields.text('appid'),
    mchid: fields.oneOf('mchid', [mchid]),
    outTradeNo: fields.text('out_trade_no'),
    transactionId: fields.optionalId('transaction_id'),
    state: fields.oneOf('trade_state', ORDER_STATES),
    amount: fields.has('amount.total') ? readAmount(fields) : undefined,
    openid: fields.optionalText('payer.openid'),
    successTime: fields.optionalTime('success_time'),
    attach: fields.optionalText('attach'),
    bankType: fields.optionalText('bank_type'),
    raw
  }))
}

/** The answer to a refund, which only means that it was accepted, and to its query. */
export function readRefundAnswerV3(body: Buffer): AnswerV3<RefundFactsV3> {
  const raw = parseJsonObject(body)
  if (raw === undefined) return { status: 'bad', reason: 'body' }
  const read = readRefundV3(raw, 'status')
  return read.status === 'refund' ? { status: 'ok', answer: read.refund } : { status: 'bad', reason: read.reason }
}

/**
 * The answer that names a bill file. `hashValue` is SHA-1 in hex, of the text before compression. `path`, with its
 * query, is to be fetched within five minutes, signed as any request; its host is left to our settings.
 */
export function readBillV3(body: Buffer): AnswerV3<{ hashValue: string; path: string }> {
  return readAnswer(body, (fields) => {
    fields.oneOf('hash_type', ['SHA1'])
    const hashValue = fields.match('hash_value', /^([0-9A-Fa-f]{40})$/)
    return { hashValue, path: fields.match('download_url', /^https?:\/\/[^/?#\s]+(\/[\x21-\x7e]*)$/) }
  })
}

function readAnswer<T>(body: Buffer, read: (fields: FieldReader, raw: JsonFields) => T): AnswerV3<T> {
  const raw = parseJsonObject(body)
  if (raw === undefined) return { status: 'bad', reason: 'body' }
  const fields = new FieldReader(raw)
  const answer = read(fields, raw)
  return fields.fault === undefined ? { status: 'ok', answer } : { status: 'bad', reason: fields.fault }
}
