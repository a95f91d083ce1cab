import { Type } from '@sinclair/typebox'

/** Whatever it is, the handler judges it: a refusal by schema would look unlike the others. */
const parameter = (description: string) => Type.Optional(Type.Unknown({ description }))

const signed = {
  signature: parameter('SHA-1 over Token, timestamp and nonce'),
  timestamp: parameter('Unix seconds'),
  nonce: parameter('digits')
}

const params = Type.Object({ appid: Type.String() })
const Refused = Type.String({ description: 'the same words for every refusal' })

export const CheckPushUrlSchema = {
  operationId: 'checkPushUrl',
  tags: ['wechat'],
  summary: 'URL check of the message push',
  produces: ['text/plain'],
  params,
  querystring: Type.Object({ ...signed, echostr: parameter('what to answer') }),
  response: { 200: Type.String({ description: 'echostr, as plain text' }), '4xx': Refused, '5xx': Refused }
}

const ENVELOPE = '<xml><ToUserName><![CDATA[gh_0123456789ab]]></ToUserName><Encrypt><![CDATA[…]]></Encrypt></xml>'

export const PushSchema = {
  operationId: 'receivePush',
  tags: ['wechat'],
  summary: 'Messages and events of a mini-program: XML or JSON, signed or encrypted',
  consumes: ['text/xml', 'application/json'],
  produces: ['text/plain'],
  'x-body': Type.String({ description: 'at most 1 MiB; encrypted: ToUserName and Encrypt', examples: [ENVELOPE] }),
  params,
  querystring: Type.Object({
    ...signed,
    encrypt_type: parameter('aes, where the body is encrypted'),
    msg_signature: parameter('SHA-1 over Token, timestamp, nonce and Encrypt'),
    openid: parameter('the sender')
  }),
  response: {
    200: Type.String({ description: 'success, ErrCode 0 for virtual payment, or a reply' }),
    '4xx': Refused,
    '5xx': Type.String({ description: 'ErrCode -1 for virtual payment, so that WeChat sends again' })
  }
}
