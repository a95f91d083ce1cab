/**
 * What the failures of APIv2 mean for our caller, and which of them ask for the same call again (docs/wechat/pay.md A3,
 * A5 to A7).
 */
import { type ErrorCode, ServiceError } from '../../errors.ts'
import { NO_ORDER, NO_REFUND } from '../model.ts'
import type { BadV2, FailedV2, RefusedV2 } from './answer.ts'

/** Every answer that is no success. */
export type FailureV2 = RefusedV2 | FailedV2 | BadV2

interface Meaning {
  error: ErrorCode
  /** The table's sentence does not say what is missing. */
  message?: string
  retryAfterSeconds?: number
}

const DENIED: Meaning = { error: 'PAY_REJECTED' }
const BUSY: Meaning = { error: 'WECHAT_BUSY' }
const CONFIGURATION: Meaning = { error: 'WECHAT_CONFIG_INVALID' }

/** Every err_code that docs/wechat/pay.md lists. A code that is not here is a refusal, too. */
export const ERR_CODES_V2: ReadonlyMap<string, Meaning> = new Map([
  ['SYSTEMERROR', BUSY],
  ['BIZERR_NEED_RETRY', BUSY],
  ['ORDERPAID', { ...DENIED, message: 'This order is already paid' }],
  ['ORDERCLOSED', DENIED],
  ['OUT_TRADE_NO_USED', DENIED],
  ['INVALID_REQUEST', DENIED],
  ['NOTENOUGH', DENIED],
  ['TRADE_OVERDUE', DENIED],
  ['TRADE_STATE_ERROR', DENIED],
  ['REFUND_FEE_MISMATCH', DENIED],
  ['USER_ACCOUNT_ABNORMAL', DENIED],
  ['INVALID_TRANSACTIONID', DENIED],
  ['ERROR', DENIED],
  ['ORDERNOTEXIST', { error: 'NOT_FOUND', ...NO_ORDER }],
  ['REFUNDNOTEXIST', { error: 'NOT_FOUND', ...NO_REFUND }],
  ['FREQUENCY_LIMITED', { error: 'WECHAT_RATE_LIMITED' }],
  ['INVALID_REQ_TOO_MUCH', { error: 'WECHAT_RATE_LIMITED', retryAfterSeconds: 60 }],
  ['NOAUTH', CONFIGURATION],
  ['APPID_NOT_EXIST', CONFIGURATION],
  ['MCHID_NOT_EXIST', CONFIGURATION],
  ['APPID_MCHID_NOT_MATCH', CONFIGURATION],
  ['SIGNERROR', CONFIGURATION],
  ['LACK_PARAMS', DENIED],
  ['PARAM_ERROR', DENIED],
  ['XML_FORMAT_ERROR', DENIED],
  ['REQUIRE_POST_METHOD', DENIED],
  ['POST_DATA_EMPTY', DENIED],
  ['NOT_UTF8', DENIED]
])

/** Whether the same call, unchanged, is to be made once more: the fault was WeChat's. */
export function asksAgain(answer: { status: 'ok' } | FailureV2): boolean {
  return answer.status === 'refused' && ERR_CODES_V2.get(answer.code)?.error === 'WECHAT_BUSY'
}

/** The error for our caller. `api` is the last part of the path that was asked. */
export function asServiceErrorV2(api: string, answer: FailureV2): ServiceError {
  switch (answer.status) {
    case 'bad':
      return unusableAnswer(api, answer.reason)
    case 'failed':
      return new ServiceError('WECHAT_REJECTED', {
        wechat: { code: 'FAIL', message: answer.message },
        detail: `WeChat did not understand ${api}: is the APIv2 key right?`
      })
    case 'refused': {
      const { error, ...said } = ERR_CODES_V2.get(answer.code) ?? DENIED
      const { code, message } = answer
      return new ServiceError(error, {
        ...said,
        wechat: { code, message },
        detail: `${api} was refused with ${code}`
      })
    }
  }
}

/** For an answer that is signed but does not say what it has to; `reason` is ours, such as the name of a field. */
export function unusableAnswer(api: string, reason: string): ServiceError {
  return new ServiceError('WECHAT_BAD_RESPONSE', { detail: `the answer to ${api} is unusable: ${reason}` })
}

/** For the meters: WeChat Pay's own word where it has one. */
export function outcomeOfV2(answer: { status: 'ok' } | FailureV2): string {
  if (answer.status === 'refused') return answer.code
  if (answer.status === 'failed') return 'FAIL'
  return answer.status === 'bad' ? 'WECHAT_BAD_RESPONSE' : 'ok'
}
