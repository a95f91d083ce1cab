/** WeChat pushes a message, an event or the URL check to an app's backend, as often and as wrongly as a test wants. */
import { createHash } from 'node:crypto'
import { type Static, Type } from '@sinclair/typebox'
import { makeOpenid } from '../wire/random.ts'
import type { World } from '../world.ts'
import { ActError } from './act.ts'
import { checkForgery, Forgery } from './push-forgery.ts'
import { type Letter, type PushDelivery, writeCheck, writeLetter } from './push-letter.ts'
import { MESSAGE_KINDS } from './push-message.ts'
import type { Terms } from './push-parcel.ts'

const URL_CHECK = 'url_check'
const Fields = Type.Record(Type.String(), Type.Unknown())

export const PushInput = Type.Object(
  {
    appid: Type.String(),
    url: Type.Optional(Type.String({ description: "instead of the app's own" })),
    kind: Type.Optional(
      Type.Union([Type.Literal(URL_CHECK), ...MESSAGE_KINDS.map((kind) => Type.Literal(kind))], {
        description: 'MsgType or Event; default text'
      })
    ),
    openid: Type.Optional(
      Type.String({ minLength: 1, description: 'whom it is from or about; default: somebody new' })
    ),
    templateIds: Type.Optional(
      Type.Array(Type.String(), { minItems: 1, description: 'of subscribe events: one makes List an object' })
    ),
    fields: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), { description: 'over those of the kind; null removes' })
    ),
    message: Type.Optional(
      Type.Union([Type.String(), Fields], { description: 'instead of a kind: fields, or the text as it shall stand' })
    ),
    mode: Type.Optional(Type.Union([Type.Literal('plain'), Type.Literal('compatible'), Type.Literal('safe')])),
    format: Type.Optional(Type.Union([Type.Literal('xml'), Type.Literal('json')])),
    times: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1000,
        description: 'sendings of this message, whatever is answered; default 1'
      })
    ),
    concurrent: Type.Optional(Type.Boolean({ description: 'all at once; default: each after the answer before' })),
    retries: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 14,
        description:
          'repeats of each that is not taken, until it is, at once; WeChat itself: 2, of xpay_* 14; default 0'
      })
    ),
    identical: Type.Optional(Type.Boolean({ description: 'every try is the first one again, byte for byte' })),
    timestampOffset: Type.Optional(Type.Integer({ description: 'seconds, of the timestamp in the query' })),
    query: Type.Optional(
      Type.Record(Type.String(), Type.Union([Type.String(), Type.Array(Type.String()), Type.Null()]), {
        description: 'parameters in place of those that were signed; null removes, a list repeats'
      })
    ),
    forgery: Type.Optional(Forgery)
  },
  { additionalProperties: false }
)
export type PushInput = Static<typeof PushInput>
export type { PushDelivery } from './push-letter.ts'

export interface PushResult {
  /** What the first try says, before encryption; echostr of a URL check. */
  message: string
  deliveries: PushDelivery[]
}

interface Target {
  url: string
  terms: Terms
}

/**
 * Throws ActError: 400 if the input contradicts itself, 404 if there is no such app, 409 if a setting of the app is
 * missing.
 */
export async function push(world: World, input: PushInput): Promise<PushResult> {
  const { url, terms } = targetOf(world, input)
  const isCheck = input.kind === URL_CHECK
  checkForgery(input.forgery, isCheck ? undefined : terms.mode)
  if (input.message !== undefined && (input.kind !== undefined || input.fields !== undefined))
    throw new ActError(400, 'a message of your own has neither a kind nor fields beside it')
  const letter = isCheck ? writeCheck(world, url, terms, input) : writeLetter(world, url, terms, input)
  return { message: letter.message, deliveries: await sendAll(letter, input) }
}

function targetOf({ apps, now }: World, input: PushInput): Target {
  const { appid, openid = makeOpenid(), timestampOffset = 0 } = input
  if (!apps.has(appid)) throw new ActError(404, `the sandbox has no app ${appid}`)
  const settings = apps.get(appid)?.push
  if (settings === undefined) throw new ActError(409, `${appid} has no message push: set \`push\` of the app`)
  const { token, aesKey = '', originalId = makeOriginalId(appid) } = settings
  const url = input.url ?? settings.url
  if (url === undefined) throw new ActError(409, `${appid} has no URL for pushes: give one`)
  const mode = input.mode ?? settings.mode ?? (aesKey === '' ? 'plain' : 'safe')
  if (mode !== 'plain' && aesKey === '') throw new ActError(409, `${appid} has no aesKey for ${mode} mode`)
  const format = input.format ?? settings.format ?? 'json'
  const timestamp = Math.floor(now() / 1000) + timestampOffset
  return { url, terms: { mode, format, token, aesKey, appid, originalId, openid, timestamp } }
}

const makeOriginalId = (appid: string) => `gh_${createHash('sha256').update(appid).digest('hex').slice(0, 12)}`

async function sendAll(letter: Letter, { times = 1, concurrent, retries = 0 }: PushInput): Promise<PushDelivery[]> {
  let number = 0
  const sendOne = async () => {
    const tries = [await letter.send(number++)]
    while (tries.length <= retries && tries.at(-1)?.accepted === false) tries.push(await letter.send(number++))
    return tries
  }
  if (concurrent) return (await Promise.all(Array.from({ length: times }, sendOne))).flat()
  const deliveries: PushDelivery[] = []
  for (let sent = 0; sent < times; sent++) deliveries.push(...(await sendOne()))
  return deliveries
}
