/** Fields that more than one API of WeChat Pay v2 asks for. */
import type { Order } from '../state/orders.ts'
import type { World } from '../world.ts'
import { BusinessRefused, type Message } from './pay-v2.ts'

/** Throws BusinessRefused LACK_PARAMS. */
export function required({ fields }: Pick<Message, 'fields'>, name: string): string {
  const value = fields.get(name) ?? ''
  if (value === '') throw new BusinessRefused('LACK_PARAMS', `缺少参数:${name}`)
  return value
}

/** undefined where it is absent or empty. */
export function optional({ fields }: Pick<Message, 'fields'>, name: string): string | undefined {
  const value = fields.get(name)
  return value === '' ? undefined : value
}

/** Throws BusinessRefused: LACK_PARAMS, or one of the identities' codes. */
export function checkIdentities({ apps }: World, message: Message): void {
  const appid = required(message, 'appid')
  required(message, 'nonce_str')
  if (!apps.has(appid)) throw new BusinessRefused('APPID_NOT_EXIST', 'APPID不存在')
  if (!message.merchant.appids.includes(appid))
    throw new BusinessRefused('APPID_MCHID_NOT_MATCH', 'appid和mch_id不匹配')
}

/** transaction_id wins. Throws BusinessRefused ORDERNOTEXIST or LACK_PARAMS. */
export function orderOf({ orders }: World, message: Message): Order {
  const { mchid } = message.merchant
  const transactionId = optional(message, 'transaction_id')
  const order =
    transactionId === undefined
      ? orders.find(mchid, required(message, 'out_trade_no'))
      : orders.findByTransactionId(mchid, transactionId)
  if (order === undefined) throw new BusinessRefused('ORDERNOTEXIST', '订单不存在')
  return order
}
