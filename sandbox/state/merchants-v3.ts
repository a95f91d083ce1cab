/** The merchants that use APIv3, with the keys that WeChat's side holds. */
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'
import type { SandboxMerchant } from '../options.ts'
import { PlatformKeys, serialOf } from './platform-keys.ts'

export interface MerchantAccount {
  readonly mchid: string
  readonly appids: readonly string[]
  /** 32 bytes. */
  readonly apiV3Key: string
  /** Of the merchant's certificate. */
  readonly certSerial: string
  /** Verifies what the merchant signs. */
  readonly publicKey: KeyObject
  readonly platform: PlatformKeys
}

/** Throws RangeError where something is missing or short, and what node:crypto throws on a PEM that is none. */
export function readAccount(merchant: SandboxMerchant): MerchantAccount | undefined {
  const { mchid, appids, certificatePem, v3 } = merchant
  if (v3 === undefined) return undefined
  if (Buffer.byteLength(v3.apiV3Key) !== 32) throw new RangeError(`the apiV3Key of ${mchid} must have 32 bytes`)
  if (v3.publicKey === undefined && (v3.certificates ?? []).length === 0)
    throw new RangeError(`${mchid} needs a publicKey or certificates for APIv3`)
  const certificate = certificatePem === undefined ? undefined : new X509Certificate(certificatePem)
  const certSerial = v3.certSerial ?? (certificate && serialOf(certificate))
  const publicKey = v3.publicKeyPem === undefined ? certificate?.publicKey : createPublicKey(v3.publicKeyPem)
  if (certSerial === undefined || publicKey === undefined)
    throw new RangeError(`${mchid} needs its certificatePem, or certSerial and publicKeyPem, for APIv3`)
  return { mchid, appids, apiV3Key: v3.apiV3Key, certSerial, publicKey, platform: new PlatformKeys(v3) }
}
