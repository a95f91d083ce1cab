/** The error code that our callers get for each errcode of WeChat (docs/wechat/mini-program.md 9.1). */
import { type ErrorCode, ServiceError, type WechatVerdict } from '../errors.ts'
import { BEIJING_OFFSET_MS } from '../util/beijing-time.ts'

/** The kind of call that was answered: the same number means different things. */
export type UpstreamCall = 'login' | 'token' | 'phone' | 'session-key' | 'api'

type Codes = Readonly<Record<number, ErrorCode>>

const each = (code: ErrorCode, errcodes: Iterable<number>): Codes =>
  Object.fromEntries(Array.from(errcodes, (errcode) => [errcode, code]))

const ANYWHERE: Codes = {
  [-1]: 'WECHAT_BUSY',
  ...each('WECHAT_RATE_LIMITED', [44990, 44991, 44993, 45009, 45011]),
  ...each('WECHAT_CONFIG_INVALID', [40243, 40125, 40164, 41002, 41004, 50004, 50007, 89503, 89506, 89507])
}

/** Errcodes that a newer access_token cures (docs/wechat/mini-program.md 4.1). */
export const STALE_TOKEN_ERRCODES: ReadonlySet<number> = new Set([40001, 40014, 42001])

/** They count only after the token was renewed and the call repeated. */
const TOKEN_REFUSED = each('WECHAT_CONFIG_INVALID', STALE_TOKEN_ERRCODES)

/** 40230 to 40240: the API security mode is on in the console, and its keys or our clock are wrong. */
export const isApiSecurityErrcode = (errcode: number): boolean => errcode >= 40230 && errcode <= 40240

const APP_REFUSED = each('WECHAT_CONFIG_INVALID', [40013, 40002])

const BY_CALL: Readonly<Record<UpstreamCall, Codes>> = {
  login: { 40029: 'CODE_INVALID', 40163: 'CODE_USED', 40226: 'USER_BLOCKED', ...APP_REFUSED },
  token: { 40001: 'WECHAT_CONFIG_INVALID', ...APP_REFUSED },
  phone: { ...each('CODE_INVALID', [40029, 40013]), ...TOKEN_REFUSED },
  'session-key': { ...each('SESSION_KEY_EXPIRED', [87007, 87009]), ...TOKEN_REFUSED },
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
