/** POST /v3/pay/transactions/jsapi: an order against a prepay_id. */
import { type Static, Type } from '@sinclair/typebox'
import type { Order } from '../state/orders.ts'
import { canonical } from '../wire/json.ts'
import { parseRfc3339 } from '../wire/time.ts'
import type { World } from '../world.ts'
import { payV3, type V3Message, V3Refused } from './pay-v3.ts'
import { checkBody, Fen, NotifyUrl, OutTradeNo, Text, Time } from './v3-fields.ts'

/** An order without time_expire is closed after 7 days. */
const LIFE_MS = 7 * 24 * 3600 * 1000

const PrepayBody = Type.Object({
  appid: Text(32),
  mchid: Text(32),
  description: Text(127),
  out_trade_no: OutTradeNo,
  time_expire: Type.Optional(Time),
  attach: Type.Optional(Text(128)),
  notify_url: NotifyUrl,
  goods_tag: Type.Optional(Text(32)),
  support_fapiao: Type.Optional(Type.Boolean()),
  amount: Type.Object({ total: Fen, currency: Type.Optional(Type.Literal('CNY')) }),
  payer: Type.Object({ openid: Text(128) }),
  detail: Type.Optional(Type.Object({})),
  scene_info: Type.Optional(Type.Object({ payer_client_ip: Type.Optional(Text(45)) })),
  settle_info: Type.Optional(Type.Object({ profit_sharing: Type.Optional(Type.Boolean()) }))
})
type PrepayBody = Static<typeof PrepayBody>

function checkIdentities({ apps, users }: World, { account }: V3Message, { appid, mchid, payer }: PrepayBody): void {
  if (mchid !== account.mchid) throw new V3Refused('PARAM_ERROR', '商户号mchid与请求的商户号不一致')
  if (!apps.has(appid) || !account.appids.includes(appid))
    throw new V3Refused('APPID_MCHID_NOT_MATCH', '商户号与appid不匹配')
  // Users that never logged in here are taken on trust; one whom only another app knows is not.
  if (users.belongsElsewhere(appid, payer.openid)) throw new V3Refused('PARAM_ERROR', 'appid和openid不匹配')
}

/** All of it, but time_expire, which counts only the first time. */
function fingerprint({ time_expire: _, ...body }: PrepayBody): string {
  return canonical(body)
}

function readExpiry(world: World, text: string | undefined): number {
  const expiresAt = text === undefined ? world.now() + LIFE_MS : (parseRfc3339(text) ?? 0)
  if (expiresAt <= world.now() + 60_000)
    throw new V3Refused('PARAM_ERROR', 'time_expire必须晚于当前时间1分钟', {
      field: '/time_expire',
      issue: 'too early',
      location: 'body'
    })
  return expiresAt
}

function newOrder(world: World, body: PrepayBody): Order {
  return {
    api: 'v3',
    appid: body.appid,
    mchid: body.mchid,
    outTradeNo: body.out_trade_no,
    openid: body.payer.openid,
    totalFen: body.amount.total,
    currency: 'CNY',
    description: body.description,
    notifyUrl: body.notify_url,
    ...(body.attach === undefined ? {} : { attach: body.attach }),
    createdAt: world.now(),
    expiresAt: readExpiry(world, body.time_expire),
    fingerprint: fingerprint(body),
    prepayIds: [],
    refunds: []
  }
}

/** A number may be used again while it is unpaid, open, and everything about it is the same. */
function checkReentry({ orders }: World, order: Order, body: PrepayBody): void {
  const state = orders.state(order)
  if (state === 'CLOSED') throw new V3Refused('ORDER_CLOSED', '该订单已关闭')
  if (state !== 'NOTPAY') throw new V3Refused('INVALID_REQUEST', '该订单已支付')
  if (order.api !== 'v3' || order.appid !== body.appid) throw new V3Refused('OUT_TRADE_NO_USED', '商户订单号重复')
  if (order.fingerprint !== fingerprint(body))
    throw new V3Refused('INVALID_REQUEST', '请求重入时，参数与首次请求时不一致')
}

export const v3Prepay = payV3({
  api: 'v3_prepay',
  url: '/v3/pay/transactions/jsapi',
  method: 'POST',
  work(world, message) {
    const body = checkBody(PrepayBody, message.body)
    checkIdentities(world, message, body)
    const known = world.orders.find(body.mchid, body.out_trade_no)
    if (known !== undefined) checkReentry(world, known, body)
    const order = known ?? newOrder(world, body)
    if (known === undefined) world.orders.add(order)
    return { json: { prepay_id: world.orders.newPrepayId(order) } }
  }
})
