/** WeChat's error answers: the number, its usual text, and the rid at the end of the text. */
import { makeRid } from './random.ts'

const TEXTS: Record<number, string> = {
  [-1]: 'system error',
  40001: 'invalid credential, access_token is invalid or not latest',
  40002: 'invalid grant_type',
  40003: 'invalid openid',
  40013: 'invalid appid',
  40014: 'invalid access_token',
  40029: 'invalid code',
  40125: 'invalid appsecret',
  40163: 'code been used',
  40164: 'invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist',
  40226: 'code blocked',
  40243: 'appsecret is frozen',
  41001: 'access_token missing',
  41002: 'appid missing',
  41004: 'appsecret missing',
  41008: 'code missing',
  42001: 'access_token expired',
  43002: 'require POST method',
  45009: 'reach max api daily quota limit',
  45011: 'api minute-quota reach limit, must slower, retry next minute',
  47001: 'data format error'
}

/** Thrown by whatever answers for api.weixin.qq.com; `serve` makes the JSON of it. */
export class Refusal extends Error {
  readonly errcode: number

  constructor(errcode: number, text: string = TEXTS[errcode] ?? 'error') {
    super(text)
    this.errcode = errcode
  }

  /** As WeChat writes it, without a field of its own for the rid. A text that brings its rid keeps it. */
  toBody(atMs: number): { errcode: number; errmsg: string } {
    const errmsg = /\brid: /.test(this.message) ? this.message : `${this.message}, rid: ${makeRid(atMs)}`
    return { errcode: this.errcode, errmsg }
  }
}
