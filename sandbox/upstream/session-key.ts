/**
 * GET /wxa/checksession and /wxa/resetusersessionkey: a caller that proves that it has a user's session_key may check
 * or replace it.
 */
import type { User } from '../state/users.ts'
import { Refusal } from '../wire/errcodes.ts'
import { signWithSession } from '../wire/session-signature.ts'
import type { World } from '../world.ts'
import { managed } from './managed.ts'
import type { Incoming } from './serve.ts'
import { queryText, textOf } from './weixin.ts'

/**
 * Checks in this order: missing parameters, the signature method, the user, whether there is a key (`absent` if not),
 * the signature.
 */
function holderOf({ users }: World, appid: string, request: Incoming, absent: number): User {
  const openid = textOf(queryText(request, 'openid'))
  const signature = textOf(queryText(request, 'signature'))
  if (openid === undefined || signature === undefined) throw new Refusal(40097)
  if (queryText(request, 'sig_method') !== 'hmac_sha256') throw new Refusal(87008)
  const user = users.find(appid, openid)
  if (user === undefined) throw new Refusal(40003)
  if (user.sessionKey === undefined) throw new Refusal(absent)
  if (signature !== signWithSession(user.sessionKey)) throw new Refusal(87009)
  return user
}

/** Its page knows 87009 alone, for a key that has vanished too. */
export const checkSession = managed({
  api: 'checksession',
  url: '/wxa/checksession',
  method: 'GET',
  work(world, appid, request) {
    holderOf(world, appid, request, 87009)
    return { errcode: 0, errmsg: 'ok' }
  }
})

export const resetSessionKey = managed({
  api: 'resetusersessionkey',
  url: '/wxa/resetusersessionkey',
  method: 'GET',
  work(world, appid, request) {
    const user = holderOf(world, appid, request, 87007)
    return { errcode: 0, errmsg: 'ok', openid: user.openid, session_key: world.users.renewSessionKey(user) }
  }
})
