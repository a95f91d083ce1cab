/** WeChat Pay by APIv2, in the shape that both APIs share. */
import { ServiceError } from '../../errors.ts'
import type { Merchant } from '../../settings/model.ts'
import { makeNonce } from '../../util/ids.ts'
import type { Bill, BillRequest, OrderStatus, PayApi } from '../model.ts'
import { billErrorV2, readBillV2 } from './bill.ts'
import { type CallerOptionsV2, type CallerV2, createCallerV2, firstAppOf, keyOf } from './call.ts'
import { unusableAnswer } from './errors.ts'
import { readOrderV2 } from './facts.ts'
import { payParamsFor, refusedPrepay, unifiedOrderCall } from './prepay.ts'
import { createRefundsV2 } from './refunds.ts'
import { buildRequestV2, type SigningV2 } from './request.ts'

export interface PayApiOptionsV2 extends CallerOptionsV2 {
  /** Where WeChat reaches us, without a trailing slash. */
  publicUrl: string
  /** Milliseconds since 1970. */
  now: () => number
}

/**
 * Everything is asked for in the name of the merchant's first app, but for an order, which names its own. Where the app
 * of an order is known and the merchant has several, hand over `{ ...merchant, appids: [appid] }`.
 *
 * Beside the codes of PayApi, WECHAT_CONFIG_INVALID also means that a setting of ours is missing; the message names it.
 */
export function createPayApiV2({ publicUrl, now, ...options }: PayApiOptionsV2): PayApi {
  const caller = createCallerV2(options)
  const addressOf = (mchid: string, door: string) => `${publicUrl}/wechat/pay/v2/${mchid}/${door}`
  const refunds = createRefundsV2({ caller, notifyUrlOf: (mchid) => addressOf(mchid, 'refund') })

  return {
    ...refunds,
    query: (merchant, outTradeNo) => query(caller, merchant, outTradeNo),
    close: (merchant, outTradeNo) => close(caller, merchant, outTradeNo),
    bill: (merchant, request) => bill(caller, merchant, request),
    async prepay(merchant, order) {
      const call = unifiedOrderCall(order, addressOf(merchant.mchid, 'notify'))
      const { answer, repeated } = await caller.send(merchant, call)
      if (answer.status !== 'ok') return refusedPrepay(answer, repeated)
      const { prepayId } = answer
      return { status: 'made', prepayId, payParams: payParamsFor(order, prepayId, keyOf(merchant), now()) }
    }
  }
}

async function query(caller: CallerV2, merchant: Merchant, outTradeNo: string): Promise<OrderStatus> {
  const fields = await caller.query(merchant, '/pay/orderquery', { out_trade_no: outTradeNo })
  const read = readOrderV2(fields, outTradeNo)
  if (read.status === 'malformed') throw unusableAnswer('orderquery', read.reason)
  return read.order
}

/** Closing what is closed is done; what is paid stays so, and is refused as PAY_REJECTED. */
async function close(caller: CallerV2, merchant: Merchant, outTradeNo: string): Promise<void> {
  try {
    await caller.query(merchant, '/pay/closeorder', { out_trade_no: outTradeNo })
  } catch (error) {
    if (!(error instanceof ServiceError && error.wechat?.code === 'ORDERCLOSED')) throw error
  }
}

async function bill(caller: CallerV2, merchant: Merchant, { kind, date }: BillRequest): Promise<Bill> {
  if (kind === 'fundflow')
    throw new ServiceError('PAY_REJECTED', {
      message: 'Fund flow bills come by api v3 only; configure its keys for this merchant'
    })
  const appid = firstAppOf(merchant)
  const bill_date = date.replaceAll('-', '')
  const common = { appid, mch_id: merchant.mchid, bill_date, bill_type: 'ALL', tar_type: 'GZIP' }
  const build = (signing: SigningV2) => buildRequestV2({ ...common, nonce_str: makeNonce() }, signing)
  const answer = await caller.openFile(merchant, { path: '/pay/downloadbill', build, open: readBillV2 })
  if (answer.status === 'ok') return { csv: answer.csv }
  throw billErrorV2(answer)
}
