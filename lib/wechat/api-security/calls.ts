/**
 * WeChat's API security mode: which calls go protected, and one such call from the parameters to the verified answer
 * (docs/wechat/mini-program.md 7).
 */
import { createPrivateKey, createSecretKey, X509Certificate } from 'node:crypto'
import type { Incoming } from '../../http/exchange.ts'
import type { Upstream } from '../../http/upstream.ts'
import type { App } from '../../settings/model.ts'
import { openAnswer } from './answer.ts'
import type { JsonMembers } from './members.ts'
import { type ApiSecurityKeys, freshnessAt, sealRequest, signRequest } from './request.ts'

/** Only some APIs support the mode, and uploads never. */
const SUPPORTING_PATHS: ReadonlySet<string> = new Set([
  '/wxa/business/getuserphonenumber',
  '/wxa/business/checkencryptedmsg',
  '/wxa/business/getuserencryptkey',
  '/wxa/msg_sec_check',
  '/wxa/media_check_async',
  '/wxa/getuserriskrank',
  '/wxa/getwxacode',
  '/wxa/getwxacodeunlimit',
  '/cgi-bin/wxaapp/createwxaqrcode',
  '/cgi-bin/message/custom/send',
  '/cgi-bin/message/subscribe/send',
  '/cgi-bin/clear_quota',
  '/cgi-bin/openapi/quota/get',
  '/cgi-bin/openapi/rid/get'
])

/** Signed and sealed is always this address, wherever the call is sent. */
const SIGNED_ORIGIN = 'https://api.weixin.qq.com'

/**
 * One POST with the parameters of query and body together, whatever the method was: the mode has no other. Answers what
 * was sealed in the answer. Throws WECHAT_UNREACHABLE, WECHAT_TIMEOUT, WECHAT_BAD_RESPONSE, the latter for all that
 * WeChat did not sign.
 */
export type ProtectedCall = (accessToken: string, parameters: JsonMembers) => Promise<Incoming>

export interface ProtectedCallOptions {
  apps: readonly App[]
  upstream: Pick<Upstream, 'send'>
  /** Called once for an app whose answers match only the certificate that WeChat is about to replace. */
  onCertificateEnding: (appid: string) => void
  /** Milliseconds since 1970. */
  now: () => number
}

export class ProtectedCalls {
  readonly #options: ProtectedCallOptions
  readonly #keysByAppid: ReadonlyMap<string, ApiSecurityKeys | undefined>
  readonly #warned = new Set<string>()

  constructor(options: ProtectedCallOptions) {
    this.#options = options
    this.#keysByAppid = new Map(options.apps.map((app) => [app.appid, readKeys(app)]))
  }

  /** Undefined where the app has no keys for the mode, or the API does not support it. */
  of(appid: string, path: string): ProtectedCall | undefined {
    const keys = this.#keysByAppid.get(appid)
    if (keys === undefined || !SUPPORTING_PATHS.has(path)) return undefined
    return (token, parameters) => this.#call(keys, path, token, parameters)
  }

  async #call(keys: ApiSecurityKeys, path: string, token: string, parameters: JsonMembers): Promise<Incoming> {
    const { upstream, now } = this.#options
    const urlpath = SIGNED_ORIGIN + path
    const fresh = freshnessAt(now())
    const body = sealRequest(keys, urlpath, parameters, fresh)
    const headers = { 'content-type': 'application/json', ...(await signRequest(keys, urlpath, fresh, body)) }
    const target = `${path}?access_token=${encodeURIComponent(token)}`
    const sent = await upstream.send({ method: 'POST', path: target, headers, body, isTransfer: true })
    const { answer, certificateEnds } = openAnswer(keys, urlpath, sent, now())
    if (certificateEnds) this.#warnOnce(keys.appid)
    return answer
  }

  #warnOnce(appid: string): void {
    if (!this.#warned.has(appid)) this.#options.onCertificateEnding(appid)
    this.#warned.add(appid)
  }
}

/** Key objects are made once: Node would parse a text again at every use. */
function readKeys({ appid, apiSecurity }: App): ApiSecurityKeys | undefined {
  if (apiSecurity === undefined) return undefined
  const { symKey, symSerial, privateKey, wechatCert, wechatSerial } = apiSecurity
  return {
    appid,
    symKey: createSecretKey(Buffer.from(symKey, 'base64')),
    symSerial,
    privateKey: createPrivateKey(privateKey),
    wechatKey: new X509Certificate(wechatCert).publicKey,
    wechatSerial
  }
}
