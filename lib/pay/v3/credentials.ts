/** What a merchant needs for APIv3, as key objects made once: Node.js makes one of a plain key at every use. */
import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import { ServiceError } from '../../errors.ts'
import type { Merchant } from '../../settings/model.ts'

export interface CredentialsV3 {
  mchid: string
  /** Serial of the merchant's own certificate, 40 hex digits in upper case. */
  certSerial: string
  /** Signs requests and paySign. */
  privateKey: KeyObject
  /** Opens callback resources and platform certificates. */
  apiV3Key: KeyObject
  /** The WeChat Pay public key, where the merchant has one; send its id as `Wechatpay-Serial` with every request. */
  publicKey?: { id: string; key: KeyObject }
}

/**
 * undefined for a merchant without the keys of APIv3. Throws where a PEM is none, which the settings have ruled out.
 */
export function readCredentialsV3(merchant: Merchant): CredentialsV3 | undefined {
  const { mchid, certSerial, privateKey, apiV3Key, publicKeyId, publicKey } = merchant
  if (apiV3Key === undefined || certSerial === undefined || privateKey === undefined) return undefined
  return {
    mchid,
    certSerial,
    privateKey: createPrivateKey(privateKey),
    apiV3Key: createApiV3Key(apiV3Key),
    ...(publicKeyId && publicKey && { publicKey: { id: publicKeyId, key: createPublicKey(publicKey) } })
  }
}

/** The key is the bytes of its text, not decoded from anything. Throws RangeError unless there are 32. */
export function createApiV3Key(text: string): KeyObject {
  const key = Buffer.from(text)
  if (key.length !== 32) throw new RangeError('an APIv3 key has exactly 32 bytes')
  return createSecretKey(key)
}

/** The credentials of all merchants that use APIv3. */
export class AccountsV3 {
  readonly all: readonly CredentialsV3[]
  readonly #byMchid: ReadonlyMap<string, CredentialsV3>

  constructor(merchants: readonly Merchant[]) {
    this.all = merchants.map(readCredentialsV3).filter((credentials) => credentials !== undefined)
    this.#byMchid = new Map(this.all.map((credentials) => [credentials.mchid, credentials]))
  }

  find(mchid: string): CredentialsV3 | undefined {
    return this.#byMchid.get(mchid)
  }

  /** Throws WECHAT_CONFIG_INVALID where the merchant has no keys for APIv3; the message names the settings. */
  of({ mchid }: Pick<Merchant, 'mchid'>): CredentialsV3 {
    const credentials = this.find(mchid)
    if (credentials !== undefined) return credentials
    throw new ServiceError('WECHAT_CONFIG_INVALID', {
      message:
        'This merchant has no keys for api v3: set WECHAT_PAY_API_V3_KEY (apiV3Key), ' +
        'WECHAT_PAY_CERT_SERIAL (certSerial) and WECHAT_PAY_PRIVATE_KEY (privateKey), or use api v2'
    })
  }
}
