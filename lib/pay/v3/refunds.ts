/** Refunds by APIv3 (pay.md B12): asked for, and queried where it is unclear what came of it. */
import { ServiceError } from '../../errors.ts'
import type { Merchant } from '../../settings.ts'
import type { RefundRequest, RefundStatus } from '../api.ts'
import type { AccountsV3 } from './accounts.ts'
import { readRefundAnswerV3 } from './answers.ts'
import type { ClientV3, OutcomeV3 } from './client.ts'
import type { CredentialsV3 } from './credentials.ts'
import { unusableAnswerV3 } from './errors.ts'

const PATH = '/v3/refund/domestic/refunds'

export interface RefundsV3 {
  /**
   * Accepted, or accepted before under this number: `state` tells how it stands. Where the answer is lost, or WeChat's fault, the
   * refund is queried by its number, and asked for once more, unchanged, where WeChat has none.
   */
  refund(merchant: Merchant, request: RefundRequest): Promise<RefundStatus>
  queryRefund(merchant: Merchant, outRefundNo: string): Promise<RefundStatus>
}

export interface RefundOptionsV3 {
  accounts: AccountsV3
  client: ClientV3
  /** Where WeChat tells how a refund ends; always sent, so that no setting in its platform decides. */
  notifyUrlOf: (mchid: string) => string
}

export function createRefundsV3({ accounts, client, notifyUrlOf }: RefundOptionsV3): RefundsV3 {
  function ask(credentials: CredentialsV3, request: RefundRequest): Promise<OutcomeV3> {
    const body = refundFields(request, notifyUrlOf(credentials.mchid))
    return client.ask(credentials, { call: 'refund', method: 'POST', path: PATH, body })
  }

  async function query(credentials: CredentialsV3, outRefundNo: string): Promise<RefundStatus> {
    const path = `${PATH}/${encodeURIComponent(outRefundNo)}`
    const body = await client.get(credentials, { call: 'refund-query', method: 'GET', path })
    return statusOf(credentials.mchid, body, outRefundNo)
  }

  /** What became of a refund whose answer tells nothing; undefined where WeChat has none. What hinders the query is thrown. */
  async function lookUp(credentials: CredentialsV3, request: RefundRequest): Promise<RefundStatus | undefined> {
    const found = await query(credentials, request.outRefundNo).catch((error: unknown) => {
      if (error instanceof ServiceError && error.code === 'NOT_FOUND') return undefined
      throw error
    })
    if (found !== undefined && !isSame(found, request))
      throw new ServiceError('PAY_REJECTED', {
        message: 'This outRefundNo was used for another refund; take another number'
      })
    return found
  }

  function settle(credentials: CredentialsV3, outcome: OutcomeV3, { outRefundNo }: RefundRequest): RefundStatus {
    if (outcome.status === 'failed') throw outcome.error
    return statusOf(credentials.mchid, outcome.body, outRefundNo)
  }

  return {
    queryRefund: async (merchant, outRefundNo) => query(accounts.of(merchant), outRefundNo),
    async refund(merchant, request) {
      const credentials = accounts.of(merchant)
      const first = await ask(credentials, request)
      if (first.status === 'ok' || !first.queryFirst) return settle(credentials, first, request)
      const found = await lookUp(credentials, request)
      if (found !== undefined) return found
      return settle(credentials, first.mayBeDone ? await ask(credentials, request) : first, request)
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

function isSame(found: RefundStatus, { outTradeNo, transactionId, amount, total }: RefundRequest): boolean {
  const isOfOrder =
    transactionId === undefined ? found.outTradeNo === outTradeNo : found.transactionId === transactionId
  return isOfOrder && found.amount.refund === amount && found.amount.total === total
}

function statusOf(mchid: string, body: Buffer, outRefundNo: string): RefundStatus {
  const read = readRefundAnswerV3(body)
  if (read.status === 'bad') throw unusableAnswerV3('refund', read.reason)
  if (read.answer.outRefundNo !== outRefundNo) throw unusableAnswerV3('refund', 'out_refund_no')
  return { api: 'v3', mchid, ...read.answer }
}
