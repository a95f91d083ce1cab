/** What a test arranges at WeChat: faults and dead tokens. */
import { type Static, Type } from '@sinclair/typebox'
import type { World } from '../world.ts'
import { ActError } from './act.ts'

export const ExpireTokenInput = Type.Object(
  {
    appid: Type.String(),
    errcode: Type.Optional(
      Type.Union([Type.Literal(42001), Type.Literal(40001), Type.Literal(40014)], {
        description: 'what calls with it get; default 42001'
      })
    ),
    sticky: Type.Optional(
      Type.Boolean({ description: 'stable_token hands the dead one out again until force_refresh; default false' })
    )
  },
  { additionalProperties: false }
)
export type ExpireTokenInput = Static<typeof ExpireTokenInput>

/** The app's current access_token dies. `expired` is false where it had none. */
export function expireToken(
  { apps, tokens }: World,
  { appid, errcode = 42001, sticky = false }: ExpireTokenInput
): { expired: boolean } {
  if (!apps.has(appid)) throw new ActError(404, `the sandbox has no app ${appid}`)
  return { expired: tokens.expire(appid, errcode, sticky) }
}
