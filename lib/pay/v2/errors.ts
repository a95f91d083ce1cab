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
const LIMITED: Meaning = { error: 'WECHAT_RATE_LIMITED' }

const each = (meaning: Meaning, codes: string) => codes.split(' ').map((code) => [code, meaning] as const)

/** Every err_code that docs/wechat/pay.md lists. A code that is not here is a refusal, too. */
export const ERR_CODES_V2: ReadonlyMap<string, Meaning> = new Map([
  ...each({ error: 'WECHAT_BUSY' }, 'SYSTEMERROR BIZERR_NEED_RETRY'),
  ...each({ ...DENIED, message: 'This order is already paid' }, 'ORDERPAID'),
  ...each(DENIED, 'ORDERCLOSED OUT_TRADE_NO_USED INVALID_REQUEST NOTENOUGH TRADE_OVERDUE TRADE_STATE_ERROR'),
  ...each(DENIED, 'REFUND_FEE_MISMATCH USER_ACCOUNT_ABNORMAL INVALID_TRANSACTIONID ERROR LACK_PARAMS PARAM_ERROR'),
  ...each(DENIED, 'XML_FORMAT_ERROR REQUIRE_POST_METHOD POST_DATA_EMPTY NOT_UTF8'),
  ...each({ error: 'NOT_FOUND', ...NO_ORDER }, 'ORDERNOTEXIST'),
  ...each({ error: 'NOT_FOUND', ...NO_REFUND }, 'REFUNDNOTEXIST'),
  ...each(LIMITED, 'FREQUENCY_LIMITED'),
  ...each({ ...LIMITED, retryAfterSeconds: 60 }, 'INVALID_REQ_TOO_MUCH'),
  ...each({ error: 'WECHAT_CONFIG_INVALID' }, 'NOAUTH APPID_NOT_EXIST MCHID_NOT_EXIST APPID_MCHID_NOT_MATCH SIGNERROR')
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
