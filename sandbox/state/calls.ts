/**
 * The calls to "WeChat" and their results, so that a test can count them. Holds no secret, no token, no session_key.
 */
import type { UpstreamApi } from './faults.ts'

/** The request as it arrived, byte by byte: for whoever passes requests on. */
export interface Received {
  /** The query as it stands, access_token taken out. */
  query: string
  contentType?: string
  /** What the header promised; absent where there was none. */
  contentLength?: number
  bodyBytes: number
  /** Lower-case hex. */
  bodySha256: string
}

export interface Call {
  api: UpstreamApi
  /** ISO 8601. */
  at: string
  method: string
  appid?: string
  openid?: string
  /** The login or phone code, which is worthless once it was used. */
  code?: string
  mchid?: string
  outTradeNo?: string
  outRefundNo?: string
  /** Of an APIv3 request: the key that it asks to be answered with. */
  wechatpaySerial?: string
  /** Of an APIv3 request. */
  userAgent?: string
  /** Of a v2 refund that came by TLS: the serial number of the client certificate. */
  clientCertSerial?: string
  forceRefresh?: boolean
  /** 0 for success; for WeChat Pay the err_code or the return_msg of a failure. */
  errcode?: number | string
  /** Present where the HTTP status was not 200. */
  httpStatus?: number
  /** Of the APIs in the list of platform APIs of docs/sandbox.md, and of every encrypted request. */
  received?: Received
  /** The request came encrypted (API security mode) and was good: the names of its parameters, in their order. */
  decrypted?: string[]
  /** The fault that was played, as its fields: `reset`, `garbage delayMs`. */
  fault?: string
}

/** The newest are kept. A test makes a handful of calls, a benchmark millions. */
const KEPT = 10_000

export class Calls {
  #calls: Call[] = []

  note(call: Call): Call {
    if (this.#calls.length >= 2 * KEPT) this.#calls = this.#calls.slice(-KEPT)
    this.#calls.push(call)
    return call
  }

  list(): Call[] {
    return this.#calls.slice(-KEPT).map((call) => ({ ...call }))
  }

  clear(): void {
    this.#calls = []
  }
}
