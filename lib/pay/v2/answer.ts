/**
 * What any APIv2 call answers: three nested verdicts in one flat XML, whatever the HTTP status
 * (pay.weixin.qq.com/doc/v2/merchant/4011986592).
 */
import { parseAnswerXml } from '../../xml/read.ts'
import type { XmlRefusal } from '../../xml/walk.ts'
import { verifyV2 } from './sign.ts'

/** Why an answer proves nothing: what was asked for is in doubt, and has to be queried. */
export type AnswerFaultV2 = XmlRefusal | 'bad-signature' | 'wrong-merchant' | 'wrong-appid' | 'incomplete'

export type RefusedV2 = { status: 'refused'; code: string; message: string }
export type FailedV2 = { status: 'failed'; message: string }
export type BadV2 = { status: 'bad'; reason: AnswerFaultV2 }

export type AnswerV2 =
  /** Signed by WeChat, for this merchant and app, and done. */
  | { status: 'ok'; fields: ReadonlyMap<string, string> }
  /** Signed, but not done: `code` is WeChat's err_code. */
  | RefusedV2
  /** Not understood. WeChat does not sign this, so it may be believed no more than the TLS connection it came over. */
  | FailedV2
  | BadV2

export interface ExpectedV2 {
  appid: string
  mchid: string
  /** The APIv2 key. */
  key: string
  maxBytes?: number
}

/** Reads and verifies an answer. Not for downloadbill and the sandbox key, which come without a signature. */
export function readAnswerV2(body: Buffer, { appid, mchid, key, ...limits }: ExpectedV2): AnswerV2 {
  const xml = parseAnswerXml(body, limits)
  if (xml.status === 'refused') return bad(xml.reason)
  const { fields } = xml
  const returnCode = fields.get('return_code')
  if (returnCode === 'FAIL') return { status: 'failed', message: fields.get('return_msg') ?? '' }
  if (returnCode !== 'SUCCESS') return bad('incomplete')
  if (!verifyV2(fields, key)) return bad('bad-signature')
  if (fields.get('mch_id') !== mchid) return bad('wrong-merchant')
  if (fields.get('appid') !== appid) return bad('wrong-appid')
  return fields.get('result_code') === 'SUCCESS' ? { status: 'ok', fields } : readRefusal(fields)
}

function readRefusal(fields: ReadonlyMap<string, string>): RefusedV2 | BadV2 {
  const code = fields.get('err_code')
  if (code === undefined || code === '') return bad('incomplete')
  return { status: 'refused', code, message: fields.get('err_code_des') ?? '' }
}

function bad(reason: AnswerFaultV2): BadV2 {
  return { status: 'bad', reason }
}
