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
 * rawData is `data` without changes. The encrypted text also has the watermark. If `data` looks like a profile (it has
 * a nickName), the encrypted text has openId too and, in apps that have them, unionId. Fields of `data` are kept.
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
