/**
 * What all APIs of WeChat Pay v3 share: signed JSON in and out, and errors as `{code, message, detail}` with their own
 * status.
 */
import type { Call } from '../state/calls.ts'
import type { Fault } from '../state/faults.ts'
import type { MerchantAccount } from '../state/merchants-v3.ts'
import { merge, readObject } from '../wire/json.ts'
import { makeRequestId } from '../wire/random.ts'
import { readAuthorization, requestHolds } from '../wire/v3-signature.ts'
import type { World } from '../world.ts'
import type { Answer, Incoming, Upstream } from './serve.ts'
import { signatureHeaders } from './v3-answer-signature.ts'

const MAX_SKEW_SECONDS = 300

/** The codes that do not come with 400. */
const STATUS: Record<string, number> = {
  SIGN_ERROR: 401,
  NO_AUTH: 403,
  OUT_TRADE_NO_USED: 403,
  RULE_LIMIT: 403,
  TRADE_ERROR: 403,
  NOT_ENOUGH: 403,
  USER_ACCOUNT_ABNORMAL: 403,
  ORDER_NOT_EXIST: 404,
  RESOURCE_NOT_EXISTS: 404,
  METHOD_NOT_ALLOWED: 405,
  FREQUENCY_LIMITED: 429,
  RATELIMIT_EXCEEDED: 429,
  RATE_LIMITED: 429,
  SYSTEM_ERROR: 500,
  SERVICE_UNAVAILABLE: 503
}

export interface ErrorDetail {
  /** A JSON pointer, or the name of what is wrong. */
  field: string
  issue: string
  location: string
}

export class V3Refused extends Error {
  readonly code: string
  readonly detail: ErrorDetail | undefined

  constructor(code: string, message: string, detail?: ErrorDetail) {
    super(message)
    this.code = code
    this.detail = detail
  }
}

export interface V3Message {
  readonly account: MerchantAccount
  readonly body: Record<string, unknown>
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, unknown>>
  /** How the merchant reached the sandbox. */
  readonly origin: string
}

/** JSON that is signed, nothing (204, signed too), or a file, which is not. */
export type V3Result = { json: Record<string, unknown> } | { empty: true } | { file: Buffer; contentType: string }

interface PayV3 extends Pick<Upstream, 'api' | 'url'> {
  method: 'GET' | 'POST'
  /** Throws V3Refused. */
  work(world: World, message: V3Message): V3Result
}

function signError(message: string, field: string, issue: string): V3Refused {
  return new V3Refused('SIGN_ERROR', message, { field, issue, location: 'authorization' })
}

function headerOf(request: Incoming, name: string): string | undefined {
  const value = request.headers[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

const bytesOf = ({ body }: Incoming) => (Buffer.isBuffer(body) ? body : Buffer.alloc(0))

/** The clock is looked at before the signature. */
function authenticate(world: World, request: Incoming): MerchantAccount {
  if (headerOf(request, 'user-agent') === undefined)
    throw new V3Refused('INVALID_REQUEST', 'Http头缺少Accept或User-Agent')
  const authorization = readAuthorization(headerOf(request, 'authorization'))
  if (authorization === undefined)
    throw signError('Http头Authorization值格式错误，请参考《微信支付商户REST API签名规则》', 'authorization', 'format')
  const account = world.accounts.get(authorization.mchid)
  if (account === undefined) throw signError('商户号不存在或未启用APIv3', 'mchid', 'unknown merchant')
  const skew = Math.abs(world.now() / 1000 - Number(authorization.timestamp))
  if (!(skew <= MAX_SKEW_SECONDS))
    throw signError('Http头Authorization中的timestamp与发起请求的时间不得超过5分钟', 'timestamp', 'expired')
  if (authorization.serial_no !== account.certSerial)
    throw signError('商户证书序列号有误，请使用签名私钥匹配的证书序列号', 'serial_no', 'unknown serial')
  const signed = { method: request.method, url: request.url, body: bytesOf(request) }
  if (!requestHolds(signed, authorization, account.publicKey))
    throw signError('签名错误，请检查后再试', 'signature', 'sign not match')
  return account
}

function readBody(request: Incoming): Record<string, unknown> {
  const bytes = bytesOf(request)
  if (request.method === 'GET' || bytes.length === 0) return {}
  const body = readObject(bytes.toString('utf8'))
  if (body === undefined) throw new V3Refused('PARAM_ERROR', '请求体不是合法的JSON对象')
  return body
}

const recordOf = <T>(value: unknown) => (value ?? {}) as Record<string, T>

function readMessage(world: World, request: Incoming, method: string): V3Message {
  const account = authenticate(world, request)
  if (request.method !== method) throw new V3Refused('METHOD_NOT_ALLOWED', '请求方法错误')
  return {
    account,
    body: readBody(request),
    params: recordOf<string>(request.params),
    query: recordOf(request.query),
    origin: `${request.protocol ?? 'http'}://${request.headers.host ?? ''}`
  }
}

function refusal({ code, message, detail }: V3Refused): Answer {
  return {
    contentType: 'application/json; charset=utf-8',
    status: STATUS[code] ?? 400,
    headers: { 'request-id': makeRequestId() },
    body: JSON.stringify({ code, message, ...(detail && { detail }) }),
    errcode: code
  }
}

function success(world: World, request: Incoming, { account }: V3Message, result: V3Result, fault?: Fault): Answer {
  const requestId = { 'request-id': makeRequestId() }
  if ('file' in result) return { contentType: result.contentType, headers: requestId, body: result.file, errcode: 0 }
  const body = 'json' in result ? JSON.stringify(merge(result.json, fault?.overrides ?? {})) : ''
  const signer = account.platform.forAnswer(headerOf(request, 'wechatpay-serial'))
  const signed = signatureHeaders(world, signer, body, fault?.signature)
  const headers = { ...requestId, ...signed.headers }
  if (body === '') return { contentType: '', status: 204, headers, body, errcode: 0 }
  return { contentType: 'application/json; charset=utf-8', headers, body: signed.body, errcode: 0 }
}

function answerTo(world: World, request: Incoming, { method, work }: PayV3, fault?: Fault): Answer {
  try {
    const message = readMessage(world, request, method)
    return success(world, request, message, work(world, message), fault)
  } catch (error) {
    if (!(error instanceof V3Refused)) throw error
    return refusal(error)
  }
}

/** Numbers stand in the path or in the body. */
function describe(request: Incoming): Partial<Call> {
  const { out_trade_no, out_refund_no, appid, payer } = {
    ...readObject(bytesOf(request).toString('utf8')),
    ...recordOf(request.params)
  }
  const texts = {
    mchid: readAuthorization(headerOf(request, 'authorization'))?.mchid,
    appid,
    openid: recordOf(payer).openid,
    outTradeNo: out_trade_no,
    outRefundNo: out_refund_no,
    wechatpaySerial: headerOf(request, 'wechatpay-serial'),
    userAgent: headerOf(request, 'user-agent')
  }
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => typeof text === 'string'))
}

export function payV3(api: PayV3): Upstream {
  return {
    api: api.api,
    url: api.url,
    describe: (_world, request) => describe(request),
    answer: (world, request, fault) => answerTo(world, request, api, fault),
    refuse(world, request, { errcode = 'SYSTEM_ERROR', errmsg = '系统异常，请稍后重试' }) {
      const work = () => {
        throw new V3Refused(String(errcode), errmsg)
      }
      return answerTo(world, request, { ...api, work })
    }
  }
}
