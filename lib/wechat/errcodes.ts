/** The error code that our callers get for each errcode of WeChat (docs/wechat/mini-program.md 9.1). */
import { type ErrorCode, ServiceError, type WechatVerdict } from '../errors.ts'
import { BEIJING_OFFSET_MS } from '../util/beijing-time.ts'

/** The kind of call that was answered: the same number means different things. */
export type UpstreamCall = 'login' | 'token' | 'phone' | 'session-key' | 'api'

const ANYWHERE: Readonly<Record<number, ErrorCode>> = {
  [-1]: 'WECHAT_BUSY',
  44990: 'WECHAT_RATE_LIMITED',
  44991: 'WECHAT_RATE_LIMITED',
  44993: 'WECHAT_RATE_LIMITED',
  45009: 'WECHAT_RATE_LIMITED',
  45011: 'WECHAT_RATE_LIMITED',
  40243: 'WECHAT_CONFIG_INVALID',
  40125: 'WECHAT_CONFIG_INVALID',
  40164: 'WECHAT_CONFIG_INVALID',
  41002: 'WECHAT_CONFIG_INVALID',
  41004: 'WECHAT_CONFIG_INVALID',
  50004: 'WECHAT_CONFIG_INVALID',
  50007: 'WECHAT_CONFIG_INVALID',
  89503: 'WECHAT_CONFIG_INVALID',
  89506: 'WECHAT_CONFIG_INVALID',
  89507: 'WECHAT_CONFIG_INVALID'
}

/** 40001, 40014 and 42001 count only after the token was renewed and the call repeated. */
const TOKEN_REFUSED: Readonly<Record<number, ErrorCode>> = {
  40001: 'WECHAT_CONFIG_INVALID',
  40014: 'WECHAT_CONFIG_INVALID',
  42001: 'WECHAT_CONFIG_INVALID'
}

/** 40230 to 40240: the API security mode is on in the console, and its keys or our clock are wrong. */
export const isApiSecurityErrcode = (errcode: number): boolean => errcode >= 40230 && errcode <= 40240

const BY_CALL: Readonly<Record<UpstreamCall, Readonly<Record<number, ErrorCode>>>> = {
  login: {
    40029: 'CODE_INVALID',
    40163: 'CODE_USED',
    40226: 'USER_BLOCKED',
    40013: 'WECHAT_CONFIG_INVALID',
    40002: 'WECHAT_CONFIG_INVALID'
  },
  token: { 40001: 'WECHAT_CONFIG_INVALID', 40013: 'WECHAT_CONFIG_INVALID', 40002: 'WECHAT_CONFIG_INVALID' },
  phone: { 40029: 'CODE_INVALID', 40013: 'CODE_INVALID', ...TOKEN_REFUSED },
  'session-key': { 87007: 'SESSION_KEY_EXPIRED', 87009: 'SESSION_KEY_EXPIRED', ...TOKEN_REFUSED },
  api: TOKEN_REFUSED
}

/** Every errcode that has a meaning here. */
export const KNOWN_ERRCODES: ReadonlySet<number> = new Set([
  ...[ANYWHERE, ...Object.values(BY_CALL)].flatMap((table) => Object.keys(table).map(Number)),
  ...Array.from({ length: 11 }, (_, index) => 40230 + index)
])

/** For the operator's log, where the sentence for the caller says too little. */
const ADVICE: Readonly<Record<number, string>> = {
  40001: 'the AppSecret is wrong, or somebody else resets the access_token',
  40013: 'the configured appid is wrong',
  40125: 'the AppSecret is wrong or was reset',
  40164: 'add the address named in errmsg to the IP whitelist of the mini-program',
  40243: 'the AppSecret is frozen; unfreeze it in the console',
  42001: 'WeChat refuses even a fresh access_token',
  89503: 'an administrator has to confirm this address in WeChat'
}

/** Errcodes that a newer access_token cures (docs/wechat/mini-program.md 4.1). */
export const STALE_TOKEN_ERRCODES: ReadonlySet<number> = new Set([40001, 40014, 42001])

const RID = /\brid: ([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8})/

/** Turns an answer with an errcode into the error that the caller gets. `nowMs` serves Retry-After. */
export function wechatError(call: UpstreamCall, errcode: number, errmsg: string, nowMs: number): ServiceError {
  const code = meaningOf(call, errcode)
  const wechat: WechatVerdict = { errcode, errmsg, rid: RID.exec(errmsg)?.[1] }
  const advice = code === 'WECHAT_CONFIG_INVALID' ? ADVICE[errcode] : undefined
  return new ServiceError(code, {
    wechat,
    detail: `WeChat answered the ${call} call with ${errcode}${advice === undefined ? '' : `: ${advice}`}`,
    retryAfterSeconds: code === 'WECHAT_RATE_LIMITED' ? secondsToNextQuota(errcode, nowMs) : undefined
  })
}

function meaningOf(call: UpstreamCall, errcode: number): ErrorCode {
  const named = BY_CALL[call][errcode] ?? ANYWHERE[errcode]
  return named ?? (isApiSecurityErrcode(errcode) ? 'WECHAT_CONFIG_INVALID' : 'WECHAT_REJECTED')
}

const SECOND_MS = 1000
const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

const PERIOD_MS: Readonly<Record<number, number>> = { 44990: SECOND_MS, 44991: MINUTE_MS, 45011: MINUTE_MS }

/** Quotas are by the second, by the minute, or (45009, 44993) by the day in Beijing. */
function secondsToNextQuota(errcode: number, nowMs: number): number {
  const period = PERIOD_MS[errcode] ?? DAY_MS
  return Math.ceil((period - ((nowMs + BEIJING_OFFSET_MS) % period)) / 1000)
}
