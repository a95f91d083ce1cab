/** GET /v3/certificates: the platform certificates, each sealed under the merchant's APIv3 key. */
import type { Certificate } from '../state/platform-keys.ts'
import { sealResource } from '../wire/aead.ts'
import { makeSealNonce } from '../wire/random.ts'
import { rfc3339 } from '../wire/time.ts'
import { payV3, V3Refused } from './pay-v3.ts'

function entry(apiV3Key: string, { serial, pem, x509 }: Certificate): Record<string, unknown> {
  return {
    serial_no: serial,
    effective_time: rfc3339(Date.parse(x509.validFrom)),
    expire_time: rfc3339(Date.parse(x509.validTo)),
    encrypt_certificate: sealResource(apiV3Key, makeSealNonce(), 'certificate', pem)
  }
}

export const v3Certificates = payV3({
  api: 'v3_certificates',
  url: '/v3/certificates',
  method: 'GET',
  work(_world, { account: { apiV3Key, platform } }) {
    const listed = platform.listed()
    if (listed.length === 0)
      throw new V3Refused('RESOURCE_NOT_EXISTS', '无可用的平台证书，请在商户平台-API安全申请使用微信支付公钥')
    return { json: { data: listed.map((certificate) => entry(apiV3Key, certificate)) } }
  }
})
