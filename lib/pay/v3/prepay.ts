/** Making an order by APIv3, and signing what the phone needs to pay it (docs/wechat/pay.md B9, B10). */

import { toBeijingRfc3339 } from '../../util/beijing-time.ts'
import { makeNonce } from '../../util/ids.ts'
import type { OrderRecord, PrepayOutcome } from '../model.ts'
import { readPrepayV3 } from './answers.ts'
import type { ClientV3 } from './client.ts'
import type { CredentialsV3 } from './credentials.ts'
import { unusableAnswerV3 } from './errors.ts'
import { payParamsV3 } from './pay-params.ts'

export interface PrepayContextV3 {
  client: ClientV3
  /** Where WeChat tells what becomes of the order. */
  notifyUrl: string
  nowMs: number
}

export async function prepayV3(
  credentials: CredentialsV3,
  order: OrderRecord,
  { client, notifyUrl, nowMs }: PrepayContextV3
): Promise<PrepayOutcome> {
  const path = '/v3/pay/transactions/jsapi'
  const body = orderFields(order, notifyUrl)
  const outcome = await client.send(credentials, { call: 'prepay', method: 'POST', path, body })
  if (outcome.status === 'failed') return { status: 'refused', error: outcome.error, mayExist: outcome.mayBeDone }
  const read = readPrepayV3(outcome.body)
  if (read.status === 'bad')
    return { status: 'refused', error: unusableAnswerV3('prepay', read.reason), mayExist: true }
  const { prepayId } = read.answer
  const timeStamp = String(Math.floor(nowMs / 1000))
  const { privateKey } = credentials
  const payParams = payParamsV3({ appid: order.appid, prepayId, privateKey, timeStamp, nonceStr: makeNonce() })
  return { status: 'made', prepayId, payParams }
}

/** WeChat takes no null: what there is not is left out. */
function orderFields(order: OrderRecord, notifyUrl: string) {
  const { appid, mchid, openid, outTradeNo, description, totalFen, currency, attach, timeExpire } = order
  return {
    appid,
    mchid,
    description,
    out_trade_no: outTradeNo,
    ...(timeExpire !== undefined && { time_expire: toBeijingRfc3339(timeExpire) }),
    ...(attach !== undefined && { attach }),
    notify_url: notifyUrl,
    amount: { total: totalFen, currency },
    payer: { openid }
  }
}
