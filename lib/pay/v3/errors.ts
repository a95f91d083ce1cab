/**
 * What APIv3's errors mean for us (docs/wechat/pay.md B15): the code for our caller, and whether the call may be
 * repeated.
 */
import { type ErrorCode, ServiceError } from '../../errors.ts'
import { BILL_IN_THE_MAKING, NO_BILL, NO_ORDER, NO_REFUND } from '../model.ts'
import { FieldReader, parseJsonObject } from './fields.ts'

/** Which kind of call was answered: the same code asks for different steps. */
export type CallV3 = 'prepay' | 'query' | 'close' | 'refund' | 'refund-query' | 'bill' | 'certificates'

/** What WeChat says of an error. Branch on `code` only; `message` comes in the language asked for. */
export interface ErrorBodyV3 {
  code: string
  message: string
  /** JSON pointer to the field that is wrong, where WeChat names one. */
  field?: string
}

/** Any repetition is of the same number and content, and signed anew. */
export type RepeatV3 =
  /** At once, two or three times. */
  | 'safe'
  /** Later, with jitter. */
  | 'after-pause'
  /** Not without a change: of the request, of the settings, of a balance. */
  | 'never'

export interface MeaningV3 {
  error: ErrorCode
  repeat: RepeatV3
  /** Before anything else, ask what became of the order or refund: this call, or one before it, may have done it. */
  queryFirst: boolean
}

const DENIED: MeaningV3 = { error: 'PAY_REJECTED', repeat: 'never', queryFirst: false }
const CONFIGURATION: MeaningV3 = { error: 'WECHAT_CONFIG_INVALID', repeat: 'never', queryFirst: false }
const LIMITED: MeaningV3 = { error: 'WECHAT_RATE_LIMITED', repeat: 'after-pause', queryFirst: false }
const BUSY: MeaningV3 = { error: 'WECHAT_BUSY', repeat: 'safe', queryFirst: false }
const LATER: MeaningV3 = { error: 'WECHAT_BUSY', repeat: 'after-pause', queryFirst: false }
const SENSELESS: MeaningV3 = { error: 'WECHAT_BAD_RESPONSE', repeat: 'never', queryFirst: false }

const each = (meaning: MeaningV3, codes: string) => codes.split(' ').map((code) => [code, meaning] as const)

const MEANINGS: ReadonlyMap<string, MeaningV3> = new Map([
  ...each(DENIED, 'PARAM_ERROR ORDER_CLOSED RULE_LIMIT TRADE_ERROR NOT_ENOUGH USER_ACCOUNT_ABNORMAL'),
  ...each({ ...DENIED, queryFirst: true }, 'INVALID_REQUEST OUT_TRADE_NO_USED ORDER_PAID ORDERPAID'),
  ...each(CONFIGURATION, 'APPID_MCHID_NOT_MATCH MCH_NOT_EXISTS SIGN_ERROR NO_AUTH'),
  ...each({ ...DENIED, error: 'NOT_FOUND' }, 'ORDER_NOT_EXIST RESOURCE_NOT_EXISTS NO_STATEMENT_EXIST'),
  ...each(LIMITED, 'FREQUENCY_LIMITED RATELIMIT_EXCEEDED RATE_LIMITED'),
  ...each(BUSY, 'SYSTEM_ERROR SERVICE_UNAVAILABLE'),
  ...each(LATER, 'STATEMENT_CREATING')
])

/** Every code that docs/wechat/pay.md lists. */
export const ERROR_CODES_V3: readonly string[] = [...MEANINGS.keys()]

/** Where there is no code, or one that docs/wechat/pay.md does not list, the status has to say it. */
function meaningOfStatus(status: number, hasCode: boolean): MeaningV3 {
  if (status === 202) return LATER
  if (status === 401) return CONFIGURATION
  if (status === 429) return LIMITED
  if (status >= 500) return BUSY
  return hasCode ? DENIED : SENSELESS
}

/**
 * What an answer that is no success means for this kind of call. A refund whose fate is unclear, or refused with a code
 * not listed, is queried before anything else.
 */
export function meaningV3(call: CallV3, status: number, code: string | undefined): MeaningV3 {
  const listed = MEANINGS.get(code ?? '')
  const meaning = listed ?? meaningOfStatus(status, code !== undefined)
  const isUnclear = listed === undefined || meaning.repeat !== 'never'
  return call === 'refund' && isUnclear ? { ...meaning, queryFirst: true } : meaning
}

/**
 * The body of an error, or of a 202. Not signed, so believed no more than the connection; undefined where it is no such
 * JSON.
 */
export function readErrorBodyV3(body: Buffer): ErrorBodyV3 | undefined {
  const json = parseJsonObject(body)
  if (json === undefined) return undefined
  const fields = new FieldReader(json)
  const code = fields.text('code')
  if (fields.fault !== undefined) return undefined
  const field = fields.text('detail.field')
  return { code, message: fields.text('message'), ...(field !== '' && { field }) }
}

/** What the table's sentence does not say: which thing is not there. */
const SENTENCES: ReadonlyMap<string | undefined, object> = new Map([
  ['NO_STATEMENT_EXIST', NO_BILL],
  ['STATEMENT_CREATING', BILL_IN_THE_MAKING],
  ['ORDER_NOT_EXIST', NO_ORDER],
  ['RESOURCE_NOT_EXISTS', NO_ORDER]
])

const sentenceFor = (call: CallV3, code: string | undefined) =>
  call === 'refund-query' && code === 'RESOURCE_NOT_EXISTS' ? NO_REFUND : SENTENCES.get(code)

/** The error for our caller. What `detail.value` holds is not kept: it may be a payer's openid. */
export function asServiceErrorV3(call: CallV3, status: number, body: Buffer): ServiceError {
  const said = readErrorBodyV3(body)
  const { error } = meaningV3(call, status, said?.code)
  const place = said?.field === undefined ? '' : `, field ${said.field}`
  return new ServiceError(error, {
    wechat: said && { code: said.code, message: said.message },
    detail: `WeChat answered the ${call} call with ${said?.code ?? 'no code'} (HTTP ${status}${place})`,
    ...sentenceFor(call, said?.code)
  })
}

/** For an answer that is signed but does not say what it has to; `reason` is the place of the fault. */
export function unusableAnswerV3(call: CallV3, reason: string): ServiceError {
  return new ServiceError('WECHAT_BAD_RESPONSE', { detail: `the answer to the ${call} call is unusable: ${reason}` })
}
