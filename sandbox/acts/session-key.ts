/** A user's session_key ends at WeChat, and the gateway is not told. */
import { type Static, Type } from '@sinclair/typebox'
import type { World } from '../world.ts'
import { userOf } from './login.ts'

export const DropSessionKeyInput = Type.Object(
  { appid: Type.String(), openid: Type.String() },
  { additionalProperties: false }
)
export type DropSessionKeyInput = Static<typeof DropSessionKeyInput>

/** Until the next login there is none. `dropped` is false where there was none before. */
export function dropSessionKey(world: World, { appid, openid }: DropSessionKeyInput): { dropped: boolean } {
  const user = userOf(world, appid, openid)
  const dropped = user.sessionKey !== undefined
  user.sessionKey = undefined
  return { dropped }
}
