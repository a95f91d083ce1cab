import { Type } from '@sinclair/typebox'

const NOTICE = {
  id: 'EV-2018022511223320873',
  create_time: '2026-11-24T02:46:41+08:00',
  resource_type: 'encrypt-resource',
  event_type: 'TRANSACTION.SUCCESS',
  summary: '支付成功',
  resource: {
    original_type: 'transaction',
    algorithm: 'AEAD_AES_256_GCM',
    ciphertext: 'WzM+ANgmK77DwgywD4+f5yYBDQnujE4UB2LPxw0Vo+15/SbU2d5DlOjO',
    associated_data: 'transaction',
    nonce: 'fdasflkja484'
  }
}

const FAIL = { code: 'FAIL', message: '失败' }

/** The same for every refusal, so that it tells a forger nothing. */
const fail = (description: string) => Type.Unsafe<typeof FAIL | string>({ const: FAIL, description, examples: [FAIL] })
const anyFail = fail('Nothing was recorded; WeChat sends again.')

export const NotifyV3Schema = {
  operationId: 'receiveNoticeV3',
  tags: ['wechat'],
  summary: 'Payment and refund results, APIv3: signed JSON with a sealed resource',
  description:
    'The signature in the `Wechatpay-*` headers is verified over the bytes of the body before anything else; ' +
    'then the resource is opened with the APIv3 key.',
  params: Type.Object({ mchid: Type.String({ description: 'of the merchant', examples: ['1900000109'] }) }),
  /** The body is read raw. */
  'x-body': Type.Unsafe({ type: 'object', description: "WeChat's JSON, at most 1 MiB", examples: [NOTICE] }),
  response: {
    204: Type.Null({ description: 'It is recorded, was before, or is no event of ours.' }),
    401: fail('Not signed by WeChat for this merchant, or not at this time.'),
    404: fail('No such merchant here, or one without the keys of APIv3.'),
    413: fail('Larger than 1 MiB.'),
    415: fail('Compressed: what was signed is not what came.'),
    500: fail(
      'Authentic, but it does not open, or contradicts our settings or our order: quarantined for a person to see.'
    ),
    503: fail('Redis did not confirm; WeChat sends again.'),
    '4xx': anyFail,
    '5xx': anyFail
  }
}
