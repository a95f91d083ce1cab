/** WeChat Pay changes its platform certificate. */
import { type Static, Type } from '@sinclair/typebox'
import { makeCertified } from '../throw-away.ts'
import type { World } from '../world.ts'
import { ActError } from './act.ts'
import { accountOf } from './pay.ts'

export const RotateInput = Type.Object(
  {
    mchid: Type.String(),
    stage: Type.Union([Type.Literal('listed'), Type.Literal('both'), Type.Literal('new'), Type.Literal('ended')], {
      description:
        'listed: a new one appears, the old one signs; both: they sign in turn; new: the new one signs; ' +
        'ended: and the old one is no longer listed'
    }),
    certificatePem: Type.Optional(Type.String({ description: 'with listed: the new one; default: made here' })),
    privateKeyPem: Type.Optional(Type.String())
  },
  { additionalProperties: false }
)
export type RotateInput = Static<typeof RotateInput>

export interface RotateResult {
  /** Serial numbers, oldest first. */
  listed: string[]
  signing: string[]
}

/** Throws ActError, and what node:crypto throws on a PEM that is none. */
export function rotateCertificate(world: World, input: RotateInput): RotateResult {
  const { platform } = accountOf(world, input.mchid)
  const { stage, certificatePem, privateKeyPem } = input
  if ((certificatePem === undefined) !== (privateKeyPem === undefined) || (certificatePem && stage !== 'listed'))
    throw new ActError(400, 'certificatePem and privateKeyPem belong together, with stage listed')
  if (stage === 'listed')
    platform.add(
      certificatePem === undefined || privateKeyPem === undefined
        ? makeCertified({ now: world.now() })
        : { certificatePem, privateKeyPem }
    )
  else if (platform.listed().length < 2) throw new ActError(409, 'there is no second certificate: stage listed first')
  if (platform.listed().length > 1) platform.rotate(stage)
  const serials = (certificates: { serial: string }[]) => certificates.map(({ serial }) => serial)
  return { listed: serials(platform.listed()), signing: serials(platform.signing()) }
}
