/** POST /pay/unifiedorder (v2): an order against a prepay_id. */
import type { Order } from '../state/orders.ts'
import type { World } from '../world.ts'
import { BusinessRefused, type Message, payV2 } from './pay-v2.ts'
import { checkFields, readExpiry } from './unified-order-fields.ts'

/** Not part of the order: the envelope, and time_expire, which counts only the first time. */
const NOT_COMPARED = new Set(['nonce_str', 'sign', 'time_expire'])

function fingerprint(fields: ReadonlyMap<string, string>): string {
  const kept = [...fields].filter(([name, value]) => value !== '' && !NOT_COMPARED.has(name))
  return JSON.stringify(kept.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function newOrder(world: World, message: Message): Order {
  const { fields, merchant, signType } = message
  const text = (name: string) => fields.get(name) ?? ''
  const expiresAt = readExpiry(world, message)
  return {
    api: 'v2',
    appid: text('appid'),
    mchid: merchant.mchid,
    outTradeNo: text('out_trade_no'),
    openid: text('openid'),
    totalFen: Number(text('total_fee')),
    currency: 'CNY',
    description: text('body'),
    notifyUrl: text('notify_url'),
    ...(text('attach') === '' ? {} : { attach: text('attach') }),
    ...(text('device_info') === '' ? {} : { deviceInfo: text('device_info') }),
    ...(text('sign_type') === '' ? {} : { signType }),
    createdAt: world.now(),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    fingerprint: fingerprint(fields),
    prepayIds: [],
    refunds: []
  }
}

/** A number may be used again while it is unpaid, open, and everything about it is the same. */
function checkReentry({ orders }: World, order: Order, { fields }: Message): void {
  const state = orders.state(order)
  if (state === 'SUCCESS' || state === 'REFUND') throw new BusinessRefused('ORDERPAID', '该订单已支付')
  if (state === 'CLOSED') throw new BusinessRefused('ORDERCLOSED', '订单已关闭')
  if (order.api !== 'v2') throw new BusinessRefused('OUT_TRADE_NO_USED', '商户订单号重复')
  if (order.fingerprint !== fingerprint(fields))
    throw new BusinessRefused('INVALID_REQUEST', '请求重入时，参数与首次请求时不一致')
}

function findOrCreate(world: World, message: Message): Order {
  const known = world.orders.find(message.merchant.mchid, message.fields.get('out_trade_no') ?? '')
  if (known !== undefined) {
    checkReentry(world, known, message)
    return known
  }
  const order = newOrder(world, message)
  world.orders.add(order)
  return order
}

export const unifiedOrder = payV2({
  api: 'unifiedorder',
  url: '/pay/unifiedorder',
  work(world, message) {
    checkFields(world, message)
    const order = findOrCreate(world, message)
    return { trade_type: 'JSAPI', prepay_id: world.orders.prepayId(order) }
  }
})
