/**
 * What all APIs of WeChat Pay v2 share: XML in and out, HTTP status 200 in every case, and a signature in both
 * directions.
 */
import type { SandboxMerchant } from '../options.ts'
import type { Call } from '../state/calls.ts'
import type { Fault, SignatureFault } from '../state/faults.ts'
import { readSignType, type SignType, sign, signatureHolds } from '../wire/pay-sign.ts'
import { makeNonce } from '../wire/random.ts'
import { readXml, XmlError } from '../wire/xml-reader.ts'
import { writeXml } from '../wire/xml-writer.ts'
import type { World } from '../world.ts'
import type { Answer, Incoming, Upstream } from './serve.ts'

/** The message was not understood, or is not proven: return_code FAIL, no sign. */
export class MessageRefused extends Error {}

/** The message is authentic, the business does not work: result_code FAIL, signed. */
export class BusinessRefused extends Error {
  readonly errCode: string

  constructor(errCode: string, text: string) {
    super(text)
    this.errCode = errCode
  }
}

export interface Message {
  readonly fields: ReadonlyMap<string, string>
  readonly merchant: SandboxMerchant
  /** The answer is signed as the request was. */
  readonly signType: SignType
}

interface PayV2 extends Pick<Upstream, 'api' | 'url'> {
  /** The fields of a success beside the common ones. Throws BusinessRefused. */
  work(world: World, message: Message): Record<string, string>
}

const CONTENT_TYPE = 'text/plain'

function readFields(request: Incoming): Map<string, string> {
  if (request.method !== 'POST') throw new MessageRefused('REQUIRE_POST_METHOD')
  if (!Buffer.isBuffer(request.body) || request.body.length === 0) throw new MessageRefused('POST_DATA_EMPTY')
  try {
    return readXml(request.body)
  } catch (error) {
    throw error instanceof XmlError ? new MessageRefused(error.reason, { cause: error }) : error
  }
}

/** Without a known merchant there is no key to sign an answer with: that failure is an unsigned one too. */
export function readMessage(world: World, request: Incoming): Message {
  const fields = readFields(request)
  const mchid = fields.get('mch_id')
  if (mchid === undefined || mchid === '') throw new MessageRefused('缺少参数mch_id')
  const merchant = world.merchants.get(mchid)
  if (merchant === undefined) throw new MessageRefused('商户号mch_id不存在')
  const signType = readSignType(fields.get('sign_type'))
  if (signType === undefined || !signatureHolds(fields, merchant.apiV2Key, signType))
    throw new MessageRefused('签名错误')
  return { fields, merchant, signType }
}

/** `more`: fields beside return_code and return_msg. */
export function unsigned(returnMsg: string, more: Record<string, string> = {}): Answer {
  const body = writeXml(new Map([['return_code', 'FAIL'], ['return_msg', returnMsg], ...Object.entries(more)]))
  return { contentType: CONTENT_TYPE, body, errcode: returnMsg }
}

function signed({ fields, merchant, signType }: Message, result: Record<string, string>, fault?: Fault): Answer {
  const answer = new Map([
    ['return_code', 'SUCCESS'],
    ['return_msg', 'OK'],
    ['appid', fields.get('appid') ?? ''],
    ['mch_id', merchant.mchid],
    ['device_info', fields.get('device_info') ?? ''],
    ['nonce_str', makeNonce()],
    ...Object.entries(result)
  ])
  for (const [name, value] of answer) {
    if (value === '') answer.delete(name)
  }
  change(answer, fault?.overrides)
  answer.set('sign', sign(answer, merchant.apiV2Key, signType))
  spoil(answer, fault?.signature)
  return { contentType: CONTENT_TYPE, body: writeXml(answer), errcode: result.err_code ?? 0 }
}

/** null takes a field away. */
function change(answer: Map<string, string>, changes: Record<string, unknown> = {}): void {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) answer.delete(name)
    else answer.set(name, String(value))
  }
}

function spoil(answer: Map<string, string>, fault: SignatureFault | undefined): void {
  if (fault === 'absent') answer.delete('sign')
  if (fault === 'wrong')
    answer.set('sign', answer.get('sign')?.replace(/^./, (digit) => (digit === 'A' ? 'B' : 'A')) ?? '')
  if (fault === 'body') answer.set('return_msg', 'ok')
}

function refused(message: Message, { errCode, message: text }: BusinessRefused): Answer {
  return signed(message, { result_code: 'FAIL', err_code: errCode, err_code_des: text })
}

/** Runs `work` on an authentic message, and puts what it gives or throws into WeChat's form. */
function answerTo(world: World, request: Incoming, work: PayV2['work'], fault?: Fault): Answer {
  let message: Message | undefined
  try {
    message = readMessage(world, request)
    return signed(message, { result_code: 'SUCCESS', ...work(world, message) }, fault)
  } catch (error) {
    if (message !== undefined && error instanceof BusinessRefused) return refused(message, error)
    if (error instanceof MessageRefused) return unsigned(error.message)
    throw error
  }
}

export function describe(request: Incoming): Partial<Call> {
  try {
    const fields = readFields(request)
    const names = {
      appid: 'appid',
      mchid: 'mch_id',
      openid: 'openid',
      outTradeNo: 'out_trade_no',
      outRefundNo: 'out_refund_no'
    }
    return Object.fromEntries(
      Object.entries(names).flatMap(([name, field]) => (fields.has(field) ? [[name, fields.get(field)]] : []))
    )
  } catch {
    return {}
  }
}

export function payV2({ work, ...rest }: PayV2): Upstream {
  return {
    ...rest,
    describe: (_world, request) => describe(request),
    answer: (world, request, fault) => answerTo(world, request, work, fault),
    refuse(world, request, { errcode, errmsg = '系统繁忙，请稍后再试' }) {
      if (errcode === undefined) return unsigned(errmsg)
      return answerTo(world, request, () => {
        throw new BusinessRefused(String(errcode), errmsg)
      })
    }
  }
}
