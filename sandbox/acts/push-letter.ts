/** One message as text, packed again for each try, and the answers to it. */
import { randomInt } from 'node:crypto'
import { merge } from '../wire/json.ts'
import { type PushFields, writePush } from '../wire/push-body.ts'
import type { World } from '../world.ts'
import type { PushInput } from './push.ts'
import { judge, judgeCheck, type PushReply } from './push-answer.ts'
import { spoilParcel, spoilTerms } from './push-forgery.ts'
import { type MessageKind, makeMessage } from './push-message.ts'
import { type Parcel, packCheck, packPush, type Terms } from './push-parcel.ts'
import { type PushAnswer, sendPush } from './push-send.ts'

/** `accepted`: WeChat would not send again; else `problem` says why. */
export interface PushDelivery extends PushAnswer {
  accepted: boolean
  problem?: string
  /** What the answer says to the user, where it says anything. */
  reply?: PushReply
}

/** One message, to be sent as often as the input says. */
export interface Letter {
  message: string
  /** `number`: of the try, from 0. */
  send(number: number): Promise<PushDelivery>
}

/** The URL check: the same echostr in each try. */
export function writeCheck(world: World, url: string, terms: Terms, input: PushInput): Letter {
  const spoilt = spoilTerms(terms, input.forgery)
  const message = String(randomInt(1e12, 1e14))
  const pack = () => finish(packCheck(message, spoilt), input)
  const parcelOf = input.identical ? once(pack) : pack
  return {
    message,
    async send() {
      const answer = await sendPush(world, 'GET', url, parcelOf(0))
      return { ...answer, ...judgeCheck(answer.status, answer.body, message) }
    }
  }
}

export function writeLetter(world: World, url: string, terms: Terms, input: PushInput): Letter {
  const spoilt = spoilTerms(terms, input.forgery)
  const { textOf, from, to } = draftOf(spoilt, input, Math.floor(world.now() / 1000))
  const pack = (number: number) => finish(packPush(textOf(number), spoilt), input)
  const parcelOf = input.identical ? once(pack) : pack
  return {
    message: textOf(0),
    async send(number) {
      const parcel = parcelOf(number)
      const answer = await sendPush(world, 'POST', url, parcel)
      const nonce = parcel.query.find(([name]) => name === 'nonce')?.[1] ?? ''
      return { ...answer, ...judge(answer.status, answer.body, { ...terms, nonce, from, to }) }
    }
  }
}

interface Draft {
  /** The message in each try: the same, but for RetryTimes where it has one. */
  textOf(number: number): string
  /** FromUserName and ToUserName; undefined where a test wrote the text itself. */
  from?: unknown
  to?: unknown
}

function draftOf({ format, originalId, openid }: Terms, input: PushInput, now: number): Draft {
  const { message, appid, kind = 'text', templateIds = ['TEMPLATE_1'], fields = {} } = input
  if (typeof message === 'string') return { textOf: () => message }
  const made = message ?? makeMessage(kind as MessageKind, originalId, { appid, openid, now, templateIds })
  const written = merge(made, fields)
  const { FromUserName: from, ToUserName: to } = written
  return { textOf: (number) => writePush(countTries(written, number), format), from, to }
}

const countTries = (fields: PushFields, number: number): PushFields =>
  'RetryTimes' in fields ? { ...fields, RetryTimes: Number(fields.RetryTimes) + number } : fields

/** Spoils, and changes the query last. */
function finish(parcel: Parcel, { forgery, query = {} }: PushInput): Parcel {
  const spoilt = spoilParcel(parcel, forgery)
  const kept = spoilt.query.filter(([name]) => !(name in query))
  const given = Object.entries(query).flatMap(([name, value]) =>
    [value ?? []].flat().map((text): [string, string] => [name, text])
  )
  return { ...spoilt, query: [...kept, ...given] }
}

function once(pack: (number: number) => Parcel): (number: number) => Parcel {
  let first: Parcel | undefined
  return () => {
    first ??= pack(0)
    return first
  }
}
