/** Every id the sandbox invents, in the shape that WeChat's have: gateways check those shapes. */
import { createHash, randomBytes, randomInt, randomUUID } from 'node:crypto'
import { beijingTime } from './time.ts'

const ALPHANUMERIC = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

function pick(alphabet: string, length: number): string {
  return Array.from({ length }, () => alphabet.charAt(randomInt(alphabet.length))).join('')
}

/** 28 characters, the first an `o`. */
export function makeOpenid(): string {
  return `o${randomBytes(21).toString('base64url').slice(0, 27)}`
}

/** The same person (here: the same openid text) has the same unionid in every app. */
export function unionidOf(openid: string): string {
  return `o${createHash('sha256').update(openid).digest('base64url').slice(0, 27)}`
}

/** 16 bytes as 24 base64 characters. */
export function makeSessionKey(): string {
  return randomBytes(16).toString('base64')
}

export function makeLoginCode(): string {
  return `0${pick(ALPHANUMERIC, 31)}`
}

export function makePhoneCode(): string {
  return randomBytes(32).toString('hex')
}

export function makeAccessToken(): string {
  return `${randomInt(60, 100)}_${pick(ALPHANUMERIC, 133)}`
}

export function makeNonce(): string {
  return pick(ALPHANUMERIC, 32)
}

/** 36 characters: `wx`, day and time, then hex. */
export function makePrepayId(atMs: number): string {
  return `wx${beijingTime(atMs).slice(6)}${pick('0123456789abcdef', 26)}`
}

/** 28 digits, more than a number can hold. */
export function makeTransactionId(atMs: number): string {
  return `4200${pick('0123456789', 6)}${beijingTime(atMs).slice(0, 8)}${pick('0123456789', 10)}`
}

/** 29 digits. */
export function makeRefundId(atMs: number): string {
  return `5030${pick('0123456789', 6)}${beijingTime(atMs).slice(0, 8)}${pick('0123456789', 11)}`
}

/** 36 characters, the id of an APIv3 notification. */
export function makeNoticeId(): string {
  return randomUUID()
}

/** 12 bytes of text. */
export function makeSealNonce(): string {
  return pick(ALPHANUMERIC, 12)
}

/** Of a certificate: 40 upper-case hex digits. */
export function makeSerial(): string {
  return `${pick('1234567', 1)}${randomBytes(20).toString('hex').slice(1)}`.toUpperCase()
}

export function makeRequestId(): string {
  return randomBytes(20).toString('hex').toUpperCase()
}

export function makeBillToken(): string {
  return randomBytes(48).toString('base64url')
}

/** 19 digits and odd: a double would round it. */
export function makeMessageId(): bigint {
  return BigInt(`3${pick('0123456789', 18)}`) | 1n
}

export function makeMediaId(): string {
  return randomBytes(48).toString('base64url')
}

/** Three groups of 8 hex digits, the first of them the Unix time of the call. */
export function makeRid(atMs: number): string {
  const seconds = Math.floor(atMs / 1000).toString(16)
  return [seconds.padStart(8, '0'), randomBytes(4).toString('hex'), randomBytes(4).toString('hex')].join('-')
}
