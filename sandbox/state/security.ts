/** The keys of an app in API security mode, as WeChat's side holds them. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import type { ApiSecurity, PlatformKey } from '../options.ts'

interface Signer {
  readonly key: KeyObject
  readonly serial: string
}

export interface Security {
  /** 32 bytes. */
  readonly symKey: Buffer
  readonly symSerial: string
  readonly appPublicKey: KeyObject
  readonly platform: Signer
  readonly deprecated?: Signer
  readonly required: boolean
}

/** Throws RangeError if the symmetric key is not base64 of 32 bytes, and the error of node:crypto if a PEM is wrong. */
export function readSecurity(appid: string, options: ApiSecurity): Security {
  const { symKey, symSerial, appPublicKeyPem, deprecated, required = false } = options
  const bytes = Buffer.from(symKey, 'base64')
  if (bytes.length !== 32)
    throw new RangeError(`the symKey of ${appid} must be 32 bytes in base64, got ${bytes.length}`)
  return {
    symKey: bytes,
    symSerial,
    appPublicKey: createPublicKey(appPublicKeyPem),
    platform: readSigner(options),
    ...(deprecated && { deprecated: readSigner(deprecated) }),
    required
  }
}

function readSigner({ platformPrivateKeyPem, platformSerial }: PlatformKey): Signer {
  return { key: createPrivateKey(platformPrivateKeyPem), serial: platformSerial }
}
