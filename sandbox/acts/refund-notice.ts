/** The notice about the result of a refund, in the form of each API. */
import type { Refund, RefundState } from '../state/refunds.ts'
import { sealReqInfo } from '../wire/req-info.ts'
import { beijingText, rfc3339 } from '../wire/time.ts'
import { writeXml } from '../wire/xml-writer.ts'
import type { World } from '../world.ts'
import type { Changes } from './notice-changes.ts'
import type { Happening } from './v3-notice.ts'
import { changeFields, xmlFields } from './xml-fields.ts'

export type RefundResult = Exclude<RefundState, 'PROCESSING'>

const SUMMARIES: Record<RefundResult, string> = { SUCCESS: '退款成功', CLOSED: '退款关闭', ABNORMAL: '退款异常' }
const V2_STATUSES: Record<RefundResult, string> = { SUCCESS: 'SUCCESS', CLOSED: 'REFUNDCLOSE', ABNORMAL: 'CHANGE' }
const RECEIVER = '支付用户零钱'

/** refund_status, where the API says status; and no appid. */
export function v3RefundHappening({ refunds }: World, refund: Refund, result: RefundResult): Happening {
  const { order, refundFen } = refund
  const { id, at } = refunds.notice(refund, result)
  const fields = {
    mchid: order.mchid,
    out_trade_no: order.outTradeNo,
    transaction_id: refund.transactionId,
    out_refund_no: refund.outRefundNo,
    refund_id: refund.refundId,
    refund_status: result,
    ...(result === 'SUCCESS' ? { success_time: rfc3339(refund.successAt ?? at) } : {}),
    user_received_account: RECEIVER,
    amount: { total: order.totalFen, refund: refundFen, payer_total: order.totalFen, payer_refund: refundFen }
  }
  return { id, at, eventType: `REFUND.${result}`, summary: SUMMARIES[result], originalType: 'refund', fields }
}

function reqInfo(refund: Refund, result: RefundResult, at: number): Map<string, string> {
  const { order, refundFen } = refund
  return xmlFields({
    out_refund_no: refund.outRefundNo,
    out_trade_no: order.outTradeNo,
    refund_account: 'REFUND_SOURCE_UNSETTLED_FUNDS',
    refund_fee: refundFen,
    refund_id: refund.refundId,
    refund_recv_accout: RECEIVER,
    refund_request_source: 'API',
    refund_status: V2_STATUSES[result],
    settlement_refund_fee: refundFen,
    settlement_total_fee: order.totalFen,
    success_time: result === 'SUCCESS' ? beijingText(refund.successAt ?? at) : undefined,
    total_fee: order.totalFen,
    transaction_id: refund.transactionId
  })
}

/** `overrides` are of req_info, before it is sealed under `sealKey`; `envelope` and `tamper` of what is around it. */
export function v2RefundNotice(
  { refunds }: World,
  refund: Refund,
  result: RefundResult,
  { sealKey, overrides, envelope, tamper, cdata }: Changes & { sealKey: string }
): string {
  const { nonce, at } = refunds.notice(refund, result)
  const inner = reqInfo(refund, result, at)
  changeFields(inner, overrides)
  const outer = xmlFields({
    return_code: 'SUCCESS',
    appid: refund.order.appid,
    mch_id: refund.order.mchid,
    nonce_str: nonce,
    req_info: sealReqInfo(sealKey, writeXml(inner, cdata, 'root'))
  })
  changeFields(outer, envelope)
  changeFields(outer, tamper)
  return writeXml(outer, cdata)
}
