/** The user opens the mini-program, and the page calls wx.login. */
import { type Static, Type } from '@sinclair/typebox'
import type { User } from '../state/users.ts'
import type { World } from '../world.ts'
import { ActError } from './act.ts'

export const LoginInput = Type.Object(
  {
    appid: Type.String(),
    openid: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 128,
        description: 'a returning user, or the openid that a new one shall have'
      })
    ),
    keepSessionKey: Type.Optional(Type.Boolean({ description: 'WeChat does not always renew the key; default false' }))
  },
  { additionalProperties: false }
)
export type LoginInput = Static<typeof LoginInput>

export interface LoginResult {
  code: string
  openid: string
}

/**
 * Gives a code: single use, 5 minutes. The user's session_key changes here, at wx.login, not when the code is
 * exchanged. So data encrypted before this call belongs to the key before, even if the code is never used. code2Session
 * gives the newest key of the user, for any of the user's codes.
 */
export function login({ apps, users, loginCodes }: World, { appid, openid, keepSessionKey }: LoginInput): LoginResult {
  if (!apps.has(appid)) throw new ActError(404, `the sandbox has no app ${appid}`)
  const user = users.login(appid, openid, keepSessionKey)
  return { code: loginCodes.issue(user), openid: user.openid }
}

/** The key that WeChat's client would encrypt with. */
export function sessionKeyOf({ openid, sessionKey }: User): string {
  if (sessionKey === undefined)
    throw new ActError(409, `${openid} has no session_key any more: POST /sandbox/login first`)
  return sessionKey
}

/** The user whom an act is about. */
export function userOf({ users }: World, appid: string, openid: string): User {
  const user = users.find(appid, openid)
  if (user === undefined) throw new ActError(404, `${openid} never logged in to ${appid}: POST /sandbox/login first`)
  return user
}
