/** WeChat Pay by APIv3, in the shape that both APIs share. */
import type { Merchant } from '../../settings/model.ts'
import type { Bill, BillRequest, OrderStatus, PayApi } from '../model.ts'
import { readBillV3, readOrderV3 } from './answers.ts'
import { openBillV3 } from './bill.ts'
import type { ClientV3 } from './client.ts'
import type { AccountsV3 } from './credentials.ts'
import { asServiceErrorV3, unusableAnswerV3 } from './errors.ts'
import { prepayV3 } from './prepay.ts'
import { createRefundsV3 } from './refunds.ts'
import type { SenderV3 } from './send.ts'

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
export function createPayApiV3({ accounts, client, sender, publicUrl, now }: PayApiOptionsV3): PayApi {
  const notifyUrlOf = (mchid: string) => `${publicUrl}/wechat/pay/v3/${mchid}/notify`

  async function query(merchant: Merchant, outTradeNo: string): Promise<OrderStatus> {
    const { mchid } = merchant
    const path = `${orderPath(outTradeNo)}?mchid=${mchid}`
    const body = await client.get(accounts.of(merchant), { call: 'query', method: 'GET', path })
    const read = readOrderV3(body, { mchid })
    if (read.status === 'bad') throw unusableAnswerV3('query', read.reason)
    if (read.answer.outTradeNo !== outTradeNo) throw unusableAnswerV3('query', 'out_trade_no')
    return read.answer
  }

  /** Closing what is closed is done; what is paid stays so, and is refused as PAY_REJECTED. */
  async function close(merchant: Merchant, outTradeNo: string): Promise<void> {
    const body = { mchid: merchant.mchid }
    const path = `${orderPath(outTradeNo)}/close`
    const outcome = await client.send(accounts.of(merchant), { call: 'close', method: 'POST', path, body })
    if (outcome.status === 'failed' && outcome.error.wechat?.code !== 'ORDER_CLOSED') throw outcome.error
  }

  async function bill(merchant: Merchant, request: BillRequest): Promise<Bill> {
    const credentials = accounts.of(merchant)
    const body = await client.get(credentials, { call: 'bill', method: 'GET', path: billPath(request) })
    const read = readBillV3(body)
    if (read.status === 'bad') throw unusableAnswerV3('bill', read.reason)
    const { hashValue, path } = read.answer
    const got = await sender.open(credentials, 'bill', path)
    if (got.status === 'open') return { csv: openBillV3(got.file, { hashValue, isGzip: true }) }
    throw asServiceErrorV3('bill', got.answer.status, got.answer.body)
  }

  return {
    ...createRefundsV3({ accounts, client, notifyUrlOf }),
    query,
    close,
    bill,
    prepay: async (merchant, order) =>
      prepayV3(accounts.of(merchant), order, { client, notifyUrl: notifyUrlOf(merchant.mchid), nowMs: now() })
  }
}

const orderPath = (outTradeNo: string): string => `/v3/pay/transactions/out-trade-no/${encodeURIComponent(outTradeNo)}`

function billPath({ kind, date }: BillRequest): string {
  const which = kind === 'trade' ? 'tradebill?bill_type=ALL' : 'fundflowbill?account_type=BASIC'
  return `/v3/bill/${which}&bill_date=${encodeURIComponent(date)}&tar_type=GZIP`
}
