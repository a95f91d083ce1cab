/** Refunds by APIv3 (docs/wechat/pay.md B12). */
import type { ServiceError } from '../../errors.ts'

import type { PayApi, RefundRequest, RefundStatus, RefundTry } from '../model.ts'
import { readRefundAnswerV3 } from './answers.ts'
import type { ClientV3 } from './client.ts'
import type { AccountsV3 } from './credentials.ts'
import { unusableAnswerV3 } from './errors.ts'

const PATH = '/v3/refund/domestic/refunds'

export interface RefundOptionsV3 {
  accounts: AccountsV3
  client: ClientV3
  /** Where WeChat notifies how a refund ends; always sent, so that no setting in its platform decides. */
  notifyUrlOf: (mchid: string) => string
}

export function createRefundsV3(options: RefundOptionsV3): Pick<PayApi, 'refund' | 'queryRefund'> {
  const { accounts, client, notifyUrlOf } = options

  return {
    async refund(merchant, request): Promise<RefundTry> {
      const { mchid } = merchant
      const body = refundFields(request, notifyUrlOf(mchid))
      const call = { call: 'refund', method: 'POST', path: PATH, body } as const
      const outcome = await client.send(accounts.of(merchant), call)
      if (outcome.status === 'failed') return { ...outcome, status: 'refused' }
      const read = readStatus(mchid, outcome.body, request.outRefundNo)
      return read.status === 'read' ? { status: 'made', refund: read.refund } : { ...read, queryFirst: true }
    },
    async queryRefund(merchant, outRefundNo) {
      const path = `${PATH}/${encodeURIComponent(outRefundNo)}`
      const body = await client.get(accounts.of(merchant), { call: 'refund-query', method: 'GET', path })
      const read = readStatus(merchant.mchid, body, outRefundNo)
      if (read.status === 'read') return read.refund
      throw read.error
    }
  }
}

function refundFields(request: RefundRequest, notifyUrl: string) {
  const { transactionId, outTradeNo, outRefundNo, amount, total, reason } = request
  return {
    ...(transactionId === undefined ? { out_trade_no: outTradeNo } : { transaction_id: transactionId }),
    out_refund_no: outRefundNo,
    ...(reason !== undefined && { reason }),
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
