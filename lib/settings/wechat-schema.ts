/** The schema of apps and merchants: the judge of `WECHAT_CONFIG_FILE` and of the `WECHAT_*` variables alike. */

import { FormatRegistry, type Static, Type } from '@sinclair/typebox'
import { readRsaCertificate, readRsaPrivateKey, readRsaPublicKey } from '../crypto/pem.ts'
import { decodeCanonicalBase64 } from '../util/bytes.ts'
import type { Notes } from './notes.ts'

FormatRegistry.Set('wxgate-32-bytes', (text) => Buffer.byteLength(text) === 32)
FormatRegistry.Set('wxgate-base64-32', (text) => decodeCanonicalBase64(text)?.length === 32)
FormatRegistry.Set('wxgate-rsa-private', (text) => readRsaPrivateKey(text) !== undefined)
FormatRegistry.Set('wxgate-rsa-public', (text) => readRsaPublicKey(text) !== undefined)
FormatRegistry.Set('wxgate-certificate', (text) => readRsaCertificate(text) !== undefined)

function word(pattern: string, notes: Notes) {
  return Type.String({ pattern, ...notes })
}

const privateKeyRule = 'must be an unencrypted RSA private key in PEM form'
const certificateRule = 'must be an X.509 certificate with an RSA key in PEM form'

const ApiSecurity = Type.Object(
  {
    symKey: Type.String({
      format: 'wxgate-base64-32',
      description: 'Symmetric key, as the console shows it.',
      rule: 'must be the base64 of exactly 32 bytes',
      secret: true
    }),
    symSerial: word('^\\S+$', { description: 'Number of the symmetric key.', rule: 'must be text without blanks' }),
    privateKey: Type.String({
      format: 'wxgate-rsa-private',
      description: 'Our private key; its public half is in the console.',
      rule: privateKeyRule,
      secret: true
    }),
    publicSerial: word('^\\S+$', { description: 'Number of our public key.', rule: 'must be text without blanks' }),
    wechatCert: Type.String({
      format: 'wxgate-certificate',
      description: "WeChat's certificate, from the console.",
      rule: certificateRule
    }),
    wechatSerial: word('^\\S+$', { description: 'Number of that certificate.', rule: 'must be text without blanks' })
  },
  {
    additionalProperties: false,
    description: 'Keys of the API security mode (AES256_GCM with RSA).',
    rule: 'must be an object'
  }
)

export const AppEntry = Type.Object(
  {
    appid: word('^wx[0-9a-zA-Z]{16}$', {
      description: 'AppID of the mini-program.',
      rule: 'must be wx and 16 letters or digits'
    }),
    secret: word('^[!#-&(-[\\]-_a-~]+$', {
      description: 'AppSecret.',
      rule: 'must be visible ASCII characters without quotes and backslashes',
      secret: true,
      free: true
    }),
    pushToken: Type.Optional(
      word('^[A-Za-z0-9]{3,32}$', {
        description: 'Token of the message push, as in the console.',
        rule: 'must be 3 to 32 letters or digits',
        secret: true
      })
    ),
    pushAesKey: Type.Optional(
      word('^[A-Za-z0-9]{43}$', {
        description: 'EncodingAESKey of the message push; with it, plain pushes are refused.',
        rule: 'must be 43 letters or digits',
        secret: true
      })
    ),
    pushReply: Type.Optional(
      Type.Unsafe<'success' | 'transfer_customer_service'>(
        word('^(success|transfer_customer_service)$', {
          description:
            "How a customer's message is answered once it is recorded: success (also where nothing is set), " +
            "or passed on to the customer service of WeChat's console.",
          rule: 'must be success or transfer_customer_service'
        })
      )
    ),
    apiSecurity: Type.Optional(ApiSecurity)
  },
  { additionalProperties: false, rule: 'must be an object' }
)

export const MerchantEntry = Type.Object(
  {
    mchid: word('^[0-9]{8,10}$', { description: 'Merchant number.', rule: 'must be 8 to 10 digits, as text' }),
    apiV2Key: Type.Optional(
      Type.String({
        format: 'wxgate-32-bytes',
        description: 'APIv2 key.',
        rule: 'must be exactly 32 bytes',
        secret: true
      })
    ),
    apiV3Key: Type.Optional(
      Type.String({
        format: 'wxgate-32-bytes',
        description: 'APIv3 key; API v3 needs it together with the certificate serial and the private key.',
        rule: 'must be exactly 32 bytes',
        secret: true
      })
    ),
    certSerial: Type.Optional(
      word('^[0-9A-Fa-f]{40}$', {
        description: "Serial number of the merchant's API certificate; read from the certificate where that is given.",
        rule: 'must be 40 hex digits'
      })
    ),
    privateKey: Type.Optional(
      Type.String({
        format: 'wxgate-rsa-private',
        description: "The merchant's private key (apiclient_key.pem).",
        rule: privateKeyRule,
        kind: 'PEM',
        secret: true
      })
    ),
    cert: Type.Optional(
      Type.String({
        format: 'wxgate-certificate',
        description: "The merchant's own API certificate (apiclient_cert.pem), for refunds by API v2.",
        rule: certificateRule,
        kind: 'PEM',
        file: true
      })
    ),
    publicKeyId: Type.Optional(
      word('^PUB_KEY_ID_[0-9A-Za-z]+$', {
        description: 'Id of the WeChat Pay public key.',
        rule: 'must be PUB_KEY_ID_ and letters or digits'
      })
    ),
    publicKey: Type.Optional(
      Type.String({
        format: 'wxgate-rsa-public',
        description: 'The WeChat Pay public key (pub_key.pem).',
        rule: 'must be an RSA public key in PEM form (not a certificate, not a private key)',
        kind: 'PEM',
        file: true
      })
    ),
    appids: Type.Optional(
      Type.Array(Type.String({ rule: 'must be the appid of a configured app' }), {
        minItems: 1,
        uniqueItems: true,
        description: 'The apps whose payments this merchant takes; all of them when left out.',
        rule: 'must be a list of different appids, at least one'
      })
    )
  },
  { additionalProperties: false, rule: 'must be an object' }
)

export const WechatConfig = Type.Object(
  {
    apps: Type.Array(AppEntry, { minItems: 1, rule: 'must be a list of at least one app' }),
    merchants: Type.Optional(Type.Array(MerchantEntry, { rule: 'must be a list of merchants' }))
  },
  { additionalProperties: false, rule: 'must be a JSON object' }
)

export type AppEntry = Static<typeof AppEntry>
export type MerchantEntry = Static<typeof MerchantEntry>
export type WechatConfig = Static<typeof WechatConfig>
