/** The user answers wx.requestSubscribeMessage. */
import { type Static, Type } from '@sinclair/typebox'
import type { World } from '../world.ts'
import { userOf } from './login.ts'

export const SubscriptionInput = Type.Object(
  {
    appid: Type.String(),
    openid: Type.String(),
    accept: Type.Boolean({ description: 'false: messages to this user get 43101 until they accept' })
  },
  { additionalProperties: false }
)
export type SubscriptionInput = Static<typeof SubscriptionInput>

/** For all templates at once. Who was never asked counts as having accepted. */
export function subscription(world: World, { appid, openid, accept }: SubscriptionInput): { accepted: boolean } {
  userOf(world, appid, openid).refusesMessages = !accept
  return { accepted: accept }
}
