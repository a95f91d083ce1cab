/** The settings of one merchant of APIv3 by public key, and of APIv2, for a gateway that is tried or measured. */
import type { MerchantSecrets } from '../sandbox/throw-away.ts'

export const payEnvironment = (secrets: MerchantSecrets) => ({
  WECHAT_PAY_MCHID: secrets.mchid,
  WECHAT_PAY_API_V2_KEY: secrets.apiV2Key,
  WECHAT_PAY_API_V3_KEY: secrets.apiV3Key,
  WECHAT_PAY_CERT_SERIAL: secrets.certSerial,
  WECHAT_PAY_PRIVATE_KEY: secrets.privateKeyPem,
  WECHAT_PAY_CERT: secrets.certificatePem,
  WECHAT_PAY_PUBLIC_KEY_ID: secrets.publicKeyId,
  WECHAT_PAY_PUBLIC_KEY: secrets.publicKeyPem
})
