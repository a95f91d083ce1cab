/** WeChat's error answers: the number, its usual text, and the rid at the end of the text. */
import { makeRid } from './random.ts'

const TEXTS: Record<number, string> = {
  [-1]: 'system error',
  40001: 'invalid credential, access_token is invalid or not latest',
  40002: 'invalid grant_type',
  40003: 'invalid openid',
  40004: 'invalid media type',
  40013: 'invalid appid',
  40014: 'invalid access_token',
  40029: 'invalid code',
  40037: 'invalid template_id',
  40097: 'invalid args',
  40125: 'invalid appsecret',
  40129: 'invalid scene',
  40163: 'code been used',
  40164: 'invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist',
  40169: 'invalid length for scene, or the data is not json string',
  40226: 'code blocked',
  40230: 'missing Wechatmp-Serial',
  40231: 'missing Wechatmp-TimeStamp',
  40232: 'missing Wechatmp-Signature',
  40233: 'missing Wechatmp-Appid',
  40234: 'invalid signature',
  40235: 'invalid encryption',
  40236: 'invalid Wechatmp-Appid',
  40237: 'Wechatmp-Appid does not match access_token',
  40238: 'symmetric key not configured',
  40239: 'public key not configured',
  40240: 'Wechatmp-TimeStamp is too old',
  40243: 'appsecret is frozen',
  41001: 'access_token missing',
  41002: 'appid missing',
  41004: 'appsecret missing',
  41005: 'media data missing',
  41008: 'code missing',
  41030: 'invalid page',
  42001: 'access_token expired',
  43001: 'require GET method',
  43002: 'require POST method',
  43101: 'user refuse to accept the msg',
  43104: 'appid not match with openid',
  44002: 'empty post data',
  45009: 'reach max api daily quota limit',
  45011: 'api minute-quota reach limit, must slower, retry next minute',
  47001: 'data format error',
  47003: 'argument invalid',
  85096: 'scancode_time is reserved',
  87007: 'session_key is absent or expired',
  87008: 'invalid sig_method',
  87009: 'invalid signature'
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
