/** Messages as WeChat pushes them in safe mode, in JSON: each another one, encrypted and rightly signed. */
import { makeMessage } from '../sandbox/acts/push-message.ts'
import { packPush } from '../sandbox/acts/push-parcel.ts'
import { writePush } from '../sandbox/wire/push-body.ts'

export interface PushAccount {
  appid: string
  token: string
  /** EncodingAESKey, 43 characters. */
  aesKey: string
}

export interface Push {
  /** The message's own. */
  msgId: string
  /** With the question mark. */
  query: string
  json: string
}

const ORIGINAL_ID = 'gh_0123456789ab'

/** A customer's text. */
export function writeTextPush({ appid, token, aesKey }: PushAccount, openid: string): Push {
  const now = Math.floor(Date.now() / 1000)
  const message = makeMessage('text', ORIGINAL_ID, { appid, openid, now, templateIds: [] })
  const { query, body } = packPush(writePush(message, 'json'), {
    mode: 'safe',
    format: 'json',
    token,
    aesKey,
    appid,
    originalId: ORIGINAL_ID,
    openid,
    timestamp: now
  })
  return { msgId: String(message.MsgId), query: `?${new URLSearchParams(query)}`, json: body }
}
