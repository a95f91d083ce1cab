import { Type } from '@sinclair/typebox'

const FAIL = '<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[FAIL]]></return_msg></xml>'
const SUCCESS = '<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>'

const NOTICE = `<xml>
<appid><![CDATA[wx0123456789abcdef]]></appid>
<bank_type><![CDATA[OTHERS]]></bank_type>
<cash_fee>4200</cash_fee>
<fee_type><![CDATA[CNY]]></fee_type>
<is_subscribe><![CDATA[N]]></is_subscribe>
<mch_id><![CDATA[1900000109]]></mch_id>
<nonce_str><![CDATA[AIYjGIG6avDrbBbPvjuYkwIIB1Pw5hjk]]></nonce_str>
<openid><![CDATA[oZNnE1nCIQif3LUPeKGGo3ey12WG]]></openid>
<out_trade_no><![CDATA[T20261123_0001]]></out_trade_no>
<result_code><![CDATA[SUCCESS]]></result_code>
<return_code><![CDATA[SUCCESS]]></return_code>
<time_end><![CDATA[20261124024640]]></time_end>
<total_fee>4200</total_fee>
<trade_type><![CDATA[JSAPI]]></trade_type>
<transaction_id><![CDATA[4200432476202611243626934420]]></transaction_id>
<sign><![CDATA[8433418812A83BDB9769A24DFD40ACE2]]></sign>
</xml>`

/** The same for every refusal, so that it tells a forger nothing. */
const fail = (description: string) => Type.String({ description, examples: [FAIL] })
const anyFail = fail('Nothing was recorded; WeChat sends again.')

export const NotifyV2Schema = {
  operationId: 'receivePaymentV2',
  tags: ['wechat'],
  summary: 'Payment result, APIv2: signed XML',
  description:
    'The field `sign` is MD5 or HMAC-SHA256 over all other fields and the APIv2 key; it is verified before anything ' +
    'else.',
  consumes: ['text/xml'],
  produces: ['text/xml'],
  params: Type.Object({ mchid: Type.String({ description: 'of the merchant', examples: ['1900000109'] }) }),
  /** The body is read raw. */
  'x-body': Type.String({ description: "WeChat's XML, at most 64 KiB", examples: [NOTICE] }),
  response: {
    200: Type.String({ description: 'It is recorded, was before, or is no payment.', examples: [SUCCESS] }),
    401: fail('Not signed by WeChat for this merchant, or not in its form.'),
    404: fail('No such merchant here, or one without an APIv2 key.'),
    413: fail('Larger than 64 KiB.'),
    415: fail('Compressed: what was signed is not what came.'),
    500: fail('Authentic, but it contradicts our settings or our order: quarantined for a person to see.'),
    503: fail('Redis did not confirm; WeChat sends again.'),
    '4xx': anyFail,
    '5xx': anyFail
  }
}

const REFUND_NOTICE = `<xml>
<return_code><![CDATA[SUCCESS]]></return_code>
<appid><![CDATA[wx0123456789abcdef]]></appid>
<mch_id><![CDATA[1900000109]]></mch_id>
<nonce_str><![CDATA[1ee38e38b04990449808688cf3a763b7]]></nonce_str>
<req_info><![CDATA[pXgZ03XbF2kwAA5lM7fEio6xbiZTfgDvjw3LtMB1Zuo=]]></req_info>
</xml>`

export const RefundNoticeSchema = {
  operationId: 'receiveRefundV2',
  tags: ['wechat'],
  summary: 'Refund result, APIv2: XML with an encrypted `req_info`',
  description:
    '`req_info` is AES-256-ECB under the MD5 of the APIv2 key, without a signature. So WeChat is asked whether ' +
    'it says the same: at once, or, where it does not answer within a second, later by a worker. Only what it ' +
    'confirms is recorded.',
  consumes: ['text/xml'],
  produces: ['text/xml'],
  params: NotifyV2Schema.params,
  'x-body': Type.String({ description: "WeChat's XML, at most 64 KiB", examples: [REFUND_NOTICE] }),
  response: {
    200: Type.String({
      description: 'It is recorded, was before, or is stored until WeChat confirms it.',
      examples: [SUCCESS]
    }),
    401: fail('Not opened by the APIv2 key of this merchant, or not in its form.'),
    404: fail('No such merchant here, or one without an APIv2 key.'),
    413: fail('Larger than 64 KiB.'),
    415: fail('Compressed.'),
    500: fail(
      'It contradicts our settings, our order, or what WeChat says when asked: quarantined for a person to see.'
    ),
    503: fail('Redis did not confirm; WeChat sends again.'),
    '4xx': anyFail,
    '5xx': anyFail
  }
}
