/** Query and close of an order (v3). */
import { Type } from '@sinclair/typebox'
import type { Order } from '../state/orders.ts'
import type { World } from '../world.ts'
import { payV3, type V3Message, V3Refused, type V3Result } from './pay-v3.ts'
import { checkBody, Text } from './v3-fields.ts'
import { transaction } from './v3-transaction.ts'

function checkMchid({ account }: V3Message, mchid: unknown): void {
  if (mchid !== account.mchid) throw new V3Refused('PARAM_ERROR', '商户号mchid缺失，或与请求的商户号不一致')
}

function found(order: Order | undefined): Order {
  if (order === undefined) throw new V3Refused('ORDER_NOT_EXIST', '订单不存在')
  return order
}

function answer({ orders }: World, order: Order | undefined): V3Result {
  return { json: transaction(found(order), orders.state(found(order))) }
}

export const v3QueryByNumber = payV3({
  api: 'v3_query',
  url: '/v3/pay/transactions/out-trade-no/:out_trade_no',
  method: 'GET',
  work(world, message) {
    checkMchid(message, message.query.mchid)
    return answer(world, world.orders.find(message.account.mchid, message.params.out_trade_no ?? ''))
  }
})

/** Only what was paid has a transaction_id. */
export const v3QueryById = payV3({
  api: 'v3_query',
  url: '/v3/pay/transactions/id/:transaction_id',
  method: 'GET',
  work(world, message) {
    checkMchid(message, message.query.mchid)
    return answer(world, world.orders.findByTransactionId(message.account.mchid, message.params.transaction_id ?? ''))
  }
})

const CloseBody = Type.Object({ mchid: Text(32) })

/** Closing what is closed is a success again. */
export const v3Close = payV3({
  api: 'v3_close',
  url: '/v3/pay/transactions/out-trade-no/:out_trade_no/close',
  method: 'POST',
  work(world, message) {
    checkMchid(message, checkBody(CloseBody, message.body).mchid)
    const order = found(world.orders.find(message.account.mchid, message.params.out_trade_no ?? ''))
    if (order.payment !== undefined) throw new V3Refused('ORDER_PAID', '该订单已支付')
    order.closed = true
    return { empty: true }
  }
})
