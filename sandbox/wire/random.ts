/** Every id the sandbox invents, in the shape that WeChat's have: gateways check those shapes. */
import { createHash, randomBytes, randomInt } from 'node:crypto'
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

/** Three groups of 8 hex digits, the first of them the Unix time of the call. */
export function makeRid(atMs: number): string {
  const seconds = Math.floor(atMs / 1000).toString(16)
  return [seconds.padStart(8, '0'), randomBytes(4).toString('hex'), randomBytes(4).toString('hex')].join('-')
}
