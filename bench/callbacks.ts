/** Calls that WeChat starts, as cases. Every callback is about its own payment or message, and becomes one event. */
import type { Orders } from '../lib/pay/records.ts'
import { makeTransactionId } from '../sandbox/wire/random.ts'
import type { Case } from './cases.ts'
import { request } from './http.ts'
import { type PaidOrder, writeNotice, writeNoticeV3 } from './notices.ts'
import { writeTextPush } from './pushes.ts'
import type { World } from './world.ts'

/** What is known of the callbacks that are made, and of the events that have come of them. */
export interface CallbackLedger {
  /** An order is made that a payment will be compared with. */
  orders: { remember(order: Parameters<Orders['remember']>[0]): Promise<unknown> }
  /** A callback is made that is to become the event of this webhook-id. */
  expect(id: string): void
  /** Throws unless exactly the expected events are recorded, each of them once. */
  prove(): Promise<void>
}

export function createCallbackCases(
  { payee, push }: World,
  ledger: CallbackLedger
): Record<'notify' | 'payV3' | 'push', Case> {
  const { appid, mchid } = payee
  const pathOf = (api: 'v2' | 'v3') => `/wechat/pay/${api}/${mchid}/notify`
  const proveDone = () => ledger.prove()
  let made = 0

  /** Its order was made through the gateway, so the gateway compares the payment with it. */
  async function pay(api: 'v2' | 'v3'): Promise<PaidOrder> {
    const number = ++made
    const order = {
      outTradeNo: `BENCH${String(number).padStart(12, '0')}`,
      openid: `oBenchPayer${String(number).padStart(17, '0')}`,
      totalFen: 1000 + (number % 90_000)
    }
    const createdAt = Math.floor(Date.now() / 1000)
    const about = { api, appid, mchid, currency: 'CNY', description: 'bench', createdAt }
    await ledger.orders.remember({ ...about, ...order })
    const transactionId = makeTransactionId(Date.now())
    ledger.expect(`pay_${mchid}_${transactionId}`)
    return { ...order, transactionId }
  }

  async function pushOne(): Promise<Buffer> {
    const { msgId, query, json } = writeTextPush(push, `oBenchUser${String(++made).padStart(18, '0')}`)
    ledger.expect(`msg_${appid}_${msgId}`)
    return request('POST', `/wechat/push/${appid}${query}`, { json })
  }

  return {
    notify: {
      title: '`POST /wechat/pay/v2/{mchid}/notify`: 25 fields, verified, compared with the order, recorded once',
      goal: 2.1,
      prepare: each(async () => request('POST', pathOf('v2'), { xml: writeNotice(payee, await pay('v2')) })),
      mark: Buffer.from('<return_code><![CDATA[SUCCESS]]></return_code>'),
      isRight: ({ status }) => status === 200,
      proveDone
    },
    payV3: {
      title: '`POST /wechat/pay/v3/{mchid}/notify`: RSA verified, opened, compared with the order, recorded once',
      goal: 2.1,
      prepare: each(async () => request('POST', pathOf('v3'), writeNoticeV3(payee, await pay('v3')))),
      status: 204,
      mark: Buffer.alloc(0),
      isRight: ({ body }) => body.length === 0,
      proveDone
    },
    push: {
      title: '`POST /wechat/push/{appid}`: verified, decrypted, recorded once',
      goal: 1.9,
      prepare: each(pushOne),
      mark: Buffer.from('success'),
      isRight: ({ body }) => body.toString() === 'success',
      proveDone
    }
  }
}

const each =
  (makeOne: () => Promise<Buffer>): Case['prepare'] =>
  (count) =>
    Promise.all(Array.from({ length: count }, makeOne))
