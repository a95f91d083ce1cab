/** Makes one message: what a customer writes, or an event, with the fields that all of them have. */
import type { PushFields } from '../wire/push-body.ts'
import { makeMediaId, makeMessageId } from '../wire/random.ts'
import { type Occasion, PLATFORM, PLATFORM_EVENTS, USER_EVENTS } from './push-events.ts'

/** What a customer sends: the kind is the MsgType. */
const CUSTOMER_MESSAGES = {
  text: () => ({ Content: '你好 <b>&]]> "世界"' }),
  image: () => ({ PicUrl: 'https://mmbiz.qpic.cn/picture?a=1&b=2', MediaId: makeMediaId() }),
  miniprogrampage: ({ appid }) => ({
    Title: '标题',
    AppId: appid,
    PagePath: 'pages/index/index?id=1',
    ThumbUrl: 'https://mmbiz.qpic.cn/thumb',
    ThumbMediaId: makeMediaId()
  })
} satisfies Record<string, (occasion: Occasion) => PushFields>

export type MessageKind = keyof typeof CUSTOMER_MESSAGES | keyof typeof USER_EVENTS | keyof typeof PLATFORM_EVENTS

/** All that `makeMessage` can make. */
export const MESSAGE_KINDS = [
  ...Object.keys(CUSTOMER_MESSAGES),
  ...Object.keys(USER_EVENTS),
  ...Object.keys(PLATFORM_EVENTS)
] as MessageKind[]

/** `originalId`: the app's `gh_…`. In the form of JSON: the writer knows what XML does otherwise. */
export function makeMessage(kind: MessageKind, originalId: string, occasion: Occasion): PushFields {
  const { openid, now } = occasion
  const head = { ToUserName: originalId, FromUserName: openid, CreateTime: now }
  if (isIn(CUSTOMER_MESSAGES, kind))
    return { ...head, MsgType: kind, ...CUSTOMER_MESSAGES[kind](occasion), MsgId: makeMessageId() }
  const event = { ...head, MsgType: 'event', Event: kind }
  if (isIn(USER_EVENTS, kind)) return { ...event, ...USER_EVENTS[kind](occasion) }
  return { ...event, FromUserName: PLATFORM, ...PLATFORM_EVENTS[kind](occasion) }
}

const isIn = <Kinds extends object>(kinds: Kinds, kind: PropertyKey): kind is keyof Kinds => Object.hasOwn(kinds, kind)
