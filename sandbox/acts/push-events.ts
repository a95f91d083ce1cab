/** The events that WeChat sends to an app's backend: the fields of each, as far as the protocol pages list them. */
import { randomInt, randomUUID } from 'node:crypto'
import type { PushFields } from '../wire/push-body.ts'
import { makeRefundId, makeTransactionId } from '../wire/random.ts'

/** What a message is made from. */
export interface Occasion {
  appid: string
  /** Whom it is about. */
  openid: string
  /** Seconds. */
  now: number
  /** One or more. */
  templateIds: string[]
}

type Own = (occasion: Occasion) => PushFields

/** FromUserName where no user is the sender: an openid of WeChat's own. */
export const PLATFORM = 'oWeChatPlatform0000000000000'

const digits = () => String(randomInt(1e11, 1e12))
const mchid = '1900000109'

/** One entry is an object, several are an array; these events have their time as text. */
function listOf(entry: (templateId: string) => object): Own {
  return ({ templateIds, now }) => {
    const entries = templateIds.map((TemplateId) => ({ TemplateId, ...entry(TemplateId) }))
    return { CreateTime: String(now), List: entries.length === 1 ? entries[0] : entries }
  }
}

const mediaCheck: Own = ({ appid }) => ({
  appid,
  trace_id: randomUUID(),
  version: 2,
  detail: [
    { strategy: 'content_model', errcode: 0, suggest: 'pass', label: 100, prob: 90 },
    { strategy: 'keyword', errcode: 0, suggest: 'pass', label: 100, prob: 90 }
  ],
  errcode: 0,
  errmsg: 'ok',
  result: { suggest: 'pass', label: 100 }
})

const punishment: Own = ({ appid, now }) => ({
  event_type: 1,
  punish_id: digits(),
  appid,
  punish_time: now,
  detail: '{"reason":"测试"}'
})

const trade = (now: number) => ({
  transaction_id: makeTransactionId(now * 1000),
  merchant_id: mchid,
  sub_merchant_id: '',
  merchant_trade_no: `T${digits()}`,
  pay_time: now - 86_400
})

const settlement: Own = ({ now }) => ({
  ...trade(now),
  shipped_time: now - 7200,
  estimated_settlement_time: now + 86_400,
  confirm_receive_method: 2,
  confirm_receive_time: now - 3600,
  settlement_time: now
})

const bought = ({ openid, now }: Occasion) => ({
  OpenId: openid,
  OutTradeNo: `X${digits()}`,
  Env: 0,
  WeChatPayInfo: { MchOrderNo: `M${digits()}`, TransactionId: makeTransactionId(now * 1000), PaidTime: now }
})

const refund: Own = ({ openid, now }) => ({
  OpenId: openid,
  WxRefundId: digits(),
  MchRefundId: `R${digits()}`,
  WxOrderId: digits(),
  MchOrderId: `X${digits()}`,
  RefundFee: 600,
  RetCode: 0,
  RetMsg: 'success',
  RefundStartTimestamp: now - 60,
  RefundSuccTimestamp: now,
  WxpayRefundTransactionId: makeRefundId(now * 1000),
  RetryTimes: 0
})

const complaint: Own = ({ openid, now }) => ({
  OpenId: openid,
  WxOrderId: digits(),
  MchOrderId: `X${digits()}`,
  TransactionId: makeTransactionId(now * 1000),
  ComplaintId: digits(),
  ComplaintDetail: '没有收到 <道具> & ]]>',
  ComplaintTime: now,
  RetryTimes: 0,
  RequestId: randomUUID()
})

const price = { Quantity: 1, OrigPrice: 600, ActualPrice: 600, Attach: '' }

/** About the user who is FromUserName. */
export const USER_EVENTS = {
  user_enter_tempsession: () => ({ SessionFrom: 'sessionFrom' }),
  subscribe_msg_popup_event: listOf(() => ({ SubscribeStatusString: 'accept', PopupScene: '2' })),
  subscribe_msg_change_event: listOf(() => ({ SubscribeStatusString: 'reject' })),
  subscribe_msg_sent_event: listOf(() => ({ MsgID: `17${digits()}00001`, ErrorCode: '0', ErrorStatus: 'success' })),
  debug_demo: () => ({ debug_str: 'hello world' })
} satisfies Record<string, Own>

/** FromUserName is the platform; the user, where there is one, stands in a field of its own. */
export const PLATFORM_EVENTS = {
  notify_service_msg_send_result: ({ openid }) => ({
    openid,
    notify_code: digits(),
    notify_type: 1,
    card_status: 0,
    fail_ret: 1,
    fail_msg: 'system error'
  }),
  wxa_media_check: mediaCheck,
  user_info_modified: ({ openid, appid }) => ({ OpenID: openid, AppID: appid }),
  user_authorization_revoke: ({ openid, appid }) => ({ OpenID: openid, AppID: appid, RevokeInfo: '8' }),
  user_authorization_cancellation: ({ openid, appid }) => ({ OpenID: openid, AppID: appid }),
  wxa_punish_event: punishment,
  trade_manage_remind_access_api: () => ({ msg: '请接入发货信息管理服务' }),
  trade_manage_remind_shipping: ({ now }) => ({ ...trade(now), msg: '请尽快发货' }),
  trade_manage_order_settlement: settlement,
  wxa_trade_controlled: () => ({ msg: '请接入发货信息管理服务' }),
  xpay_goods_deliver_notify: (occasion) => ({ ...bought(occasion), GoodsInfo: { ProductId: 'sword', ...price } }),
  xpay_coin_pay_notify: (occasion) => ({ ...bought(occasion), CoinInfo: price }),
  xpay_refund_notify: refund,
  xpay_complaint_notify: complaint,
  xpay_wxpay_callback_notify: () => ({
    EventType: 'due_diligence',
    MerchantCode: mchid,
    BusinessCode: digits(),
    BusinessState: 'APPLYMENT_STATE_PASSED',
    RetryTimes: 0
  })
} satisfies Record<string, Own>
