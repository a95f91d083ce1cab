/** Refunds by APIv3 (pay.md B12): asked for, and queried where it is unclear what came of it. */
import type { PayApi, RefundRequest, RefundStatus } from '../api.ts'
import { type RefundTry, refundOnce, tried } from '../refund-once.ts'
import type { AccountsV3 } from './accounts.ts'
import { readRefundAnswerV3 } from './answers.ts'
import type { ClientV3 } from './client.ts'
import type { CredentialsV3 } from './credentials.ts'
import { unusableAnswerV3 } from './errors.ts'

const PATH = '/v3/refund/domestic/refunds'

export interface RefundOptionsV3 {
  accounts: AccountsV3
  client: ClientV3
  /** Where WeChat tells how a refund ends; always sent, so that no setting in its platform decides. */
  notifyUrlOf: (mchid: string) => string
}

export function createRefundsV3({
  accounts,
  client,
  notifyUrlOf
}: RefundOptionsV3): Pick<PayApi, 'refund' | 'queryRefund'> {
  async function ask(credentials: CredentialsV3, request: RefundRequest): Promise<RefundTry> {
    const { mchid } = credentials
    const body = refundFields(request, notifyUrlOf(mchid))
    const outcome = await client.ask(credentials, { call: 'refund', method: 'POST', path: PATH, body })
    if (outcome.status === 'failed') return { ...outcome, status: 'refused' }
    return tried(async () => ({ status: 'made', refund: statusOf(mchid, outcome.body, request.outRefundNo) }))
  }

  async function query(credentials: CredentialsV3, outRefundNo: string): Promise<RefundStatus> {
    const path = `${PATH}/${encodeURIComponent(outRefundNo)}`
    const body = await client.get(credentials, { call: 'refund-query', method: 'GET', path })
    return statusOf(credentials.mchid, body, outRefundNo)
  }

  return {
    queryRefund: async (merchant, outRefundNo) => query(accounts.of(merchant), outRefundNo),
    async refund(merchant, request) {
      const credentials = accounts.of(merchant)
      return refundOnce(request, {
        ask: () => ask(credentials, request),
        query: () => query(credentials, request.outRefundNo)
      })
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

function statusOf(mchid: string, body: Buffer, outRefundNo: string): RefundStatus {
  const read = readRefundAnswerV3(body)
  if (read.status === 'bad') throw unusableAnswerV3('refund', read.reason)
  if (read.answer.outRefundNo !== outRefundNo) throw unusableAnswerV3('refund', 'out_refund_no')
  return { api: 'v3', mchid, ...read.answer }
}
