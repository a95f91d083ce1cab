/** WeChat comes to a result with a refund, and tells the merchant about it. */
import { type Static, Type } from '@sinclair/typebox'
import type { Refund } from '../state/refunds.ts'
import type { World } from '../world.ts'
import { ActError } from './act.ts'
import { Delivery, deliver, type NoticeResult, type Sending } from './deliver.ts'
import { Changes, checkChanges } from './notice-changes.ts'
import { accountOf, isTakenByBody, isTakenByStatus, keyOf } from './pay.ts'
import { type RefundResult, v2RefundNotice, v3RefundHappening } from './refund-notice.ts'
import { v3Notice } from './v3-notice.ts'

export const RefundInput = Type.Object(
  {
    outRefundNo: Type.String(),
    mchid: Type.Optional(Type.String({ description: 'where numbers repeat' })),
    status: Type.Optional(
      Type.Union([Type.Literal('SUCCESS'), Type.Literal('CLOSED'), Type.Literal('ABNORMAL')], {
        description: 'default SUCCESS'
      })
    ),
    noticeOnly: Type.Optional(
      Type.Boolean({
        description: 'the notice of this status, early or late: the refund stays as it is; default false'
      })
    ),
    ...Delivery,
    ...Changes
  },
  { additionalProperties: false }
)
export type RefundInput = Omit<Static<typeof RefundInput>, 'signature'> & Changes

export interface RefundActResult {
  outRefundNo: string
  refundId: string
  status: RefundResult
  notices: NoticeResult[]
}

/** Success and closed are final, abnormal is not. The same result again sends its notices again. Throws ActError. */
export async function refund(world: World, input: RefundInput): Promise<RefundActResult> {
  const { outRefundNo, mchid, status = 'SUCCESS', noticeOnly = false } = input
  const found = world.refunds.findByNumber(outRefundNo, mchid)
  if (found === undefined) throw new ActError(404, `no refund ${outRefundNo}`)
  const isJson = found.api === 'v3' && found.notifyUrl !== undefined
  checkChanges(isJson ? 'JSON' : 'XML', input)
  if (!noticeOnly) settle(world, found, status)
  const sending = isJson ? v3Sending(world, found, status, input) : v2Sending(world, found, status, input)
  const notices = await deliver(world, input, sending)
  return { outRefundNo, refundId: found.refundId, status, notices }
}

function settle({ refunds }: World, found: Refund, status: RefundResult): void {
  const isFinal = found.state === 'SUCCESS' || found.state === 'CLOSED'
  if (isFinal && found.state !== status)
    throw new ActError(409, `the refund ${found.outRefundNo} is ${found.state}, which is final (noticeOnly?)`)
  refunds.settle(found, status)
}

function v3Sending(world: World, found: Refund, status: RefundResult, changes: Changes): Sending {
  const account = accountOf(world, found.order.mchid)
  const make = v3Notice(world, account, v3RefundHappening(world, found, status), changes)
  return { url: found.notifyUrl, make, isTaken: isTakenByStatus }
}

/** A v3 refund without a notify_url is told in XML too, to the address set in the merchant platform. */
function v2Sending(world: World, found: Refund, status: RefundResult, changes: Changes): Sending {
  const { mchid } = found.order
  const body = v2RefundNotice(world, found, status, { sealKey: keyOf(world, mchid), ...changes })
  const url = found.notifyUrl ?? world.merchants.get(mchid)?.refundNotifyUrl
  return { url, make: () => ({ contentType: 'text/xml', body }), isTaken: isTakenByBody }
}
