/** The page obtains open data: profile, WeRun steps, share info, anything. */
import { type Static, Type } from '@sinclair/typebox'
import { type Sealed, seal, signRawData } from '../wire/open-data.ts'
import type { World } from '../world.ts'
import { Watermark, watermark } from './act.ts'
import { sessionKeyOf, userOf } from './login.ts'

export const OpenDataInput = Type.Object(
  {
    appid: Type.String(),
    openid: Type.String(),
    data: Type.Record(Type.String(), Type.Unknown()),
    ...Watermark
  },
  { additionalProperties: false }
)
export type OpenDataInput = Static<typeof OpenDataInput>

export interface OpenDataResult extends Sealed {
  rawData: string
  signature: string
}

/**
 * rawData is `data` as it stands. The encrypted text has the watermark besides, and where `data` looks like a profile (has a nickName) openId and,
 * in apps that have them, unionId; fields that `data` brings itself are kept.
 */
export function openData(world: World, input: OpenDataInput): OpenDataResult {
  const { appid, openid, data } = input
  const user = userOf(world, appid, openid)
  const sessionKey = sessionKeyOf(user)
  const isProfile = 'nickName' in data
  const hasUnionid = isProfile && world.apps.get(appid)?.unionids === true
  const plaintext = {
    ...(isProfile ? { openId: openid } : {}),
    ...(hasUnionid ? { unionId: user.unionid } : {}),
    ...data,
    watermark: watermark(world, appid, input)
  }
  const rawData = JSON.stringify(data)
  const signature = signRawData(rawData, sessionKey)
  return { rawData, signature, ...seal(sessionKey, JSON.stringify(plaintext)) }
}
