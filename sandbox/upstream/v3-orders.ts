/** Query and close of an order (v3). */
import { Type } from '@sinclair/typebox'
import type { Order } from '../state/orders.ts'
import type { World } from '../world.ts'
import { payV3, type V3Message, V3Refused } from './pay-v3.ts'
import type { Upstream } from './serve.ts'
import { checkBody, Text } from './v3-fields.ts'
import { transaction } from './v3-transaction.ts'

function checkMchid({ account }: V3Message, mchid: unknown): void {
  if (mchid !== account.mchid) throw new V3Refused('PARAM_ERROR', '商户号mchid缺失，或与请求的商户号不一致')
}

function found(order: Order | undefined): Order {
  if (order === undefined) throw new V3Refused('ORDER_NOT_EXIST', '订单不存在')
  return order
}

function byNumber({ orders }: World, { account, params }: V3Message): Order {
  return found(orders.find(account.mchid, params.out_trade_no ?? ''))
}

function query(url: string, find: (world: World, message: V3Message) => Order): Upstream {
  return payV3({
    api: 'v3_query',
    url,
    method: 'GET',
    work(world, message) {
      checkMchid(message, message.query.mchid)
      const order = find(world, message)
      return { json: transaction(order, world.orders.state(order)) }
    }
  })
}

export const v3QueryByNumber = query('/v3/pay/transactions/out-trade-no/:out_trade_no', byNumber)

/** Only what was paid has a transaction_id. */
export const v3QueryById = query('/v3/pay/transactions/id/:transaction_id', ({ orders }, { account, params }) =>
  found(orders.findByTransactionId(account.mchid, params.transaction_id ?? ''))
)

const CloseBody = Type.Object({ mchid: Text(32) })

/** Closing what is closed is a success again. */
export const v3Close = payV3({
  api: 'v3_close',
  url: '/v3/pay/transactions/out-trade-no/:out_trade_no/close',
  method: 'POST',
  work(world, message) {
    checkMchid(message, checkBody(CloseBody, message.body).mchid)
    const order = byNumber(world, message)
    if (order.payment !== undefined) throw new V3Refused('ORDER_PAID', '该订单已支付')
    order.closed = true
    return { empty: true }
  }
})
