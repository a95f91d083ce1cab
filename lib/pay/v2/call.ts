/** One call to APIv2: signed, posted, counted, and its answer read; repeated only where WeChat asks for it. */
import { ServiceError } from '../../errors.ts'
import type { OpenIncoming } from '../../http/exchange.ts'
import type { Upstream } from '../../http/upstream.ts'
import { type Meters, observedCall } from '../../metrics/meters.ts'
import type { Merchant } from '../../settings/model.ts'
import { makeNonce } from '../../util/bytes.ts'
import { type AnswerV2, type ExpectedV2, readAnswerV2 } from './answer.ts'
import { asksAgain, asServiceErrorV2, type FailureV2, outcomeOfV2 } from './errors.ts'
import type { Fields } from './facts.ts'
import { buildRequestV2, type SigningV2 } from './request.ts'

/** The algorithm of everything that we sign. */
export const SIGN_TYPE = 'HMAC-SHA256'
const HEADERS = { 'content-type': 'text/xml; charset=utf-8', 'user-agent': 'wxgate' }

export interface CallV2<T extends { status: 'ok' } | FailureV2> {
  path: string
  /** The app that the call names; WeChat names it in its answer. */
  appid: string
  /** Over TLS with the merchant's certificate. */
  secure?: boolean
  /** Called for each try. */
  build(signing: SigningV2): string
  read(body: Buffer, expected: ExpectedV2): T
}

/** A call that is answered with a file. */
export interface FileCallV2<T extends { status: 'ok' } | FailureV2> extends Pick<CallV2<T>, 'path' | 'build'> {
  /** Reads what distinguishes a file from a failure. */
  open(answer: OpenIncoming): Promise<T>
}

export interface CallerOptionsV2 {
  upstream: Upstream
  /** Connections that show the merchant's certificate. Throws WECHAT_CONFIG_INVALID where there is none. */
  secureUpstreamFor: (merchant: Merchant) => Upstream
  meters: Pick<Meters, 'upstreamCall'>
}

/**
 * Every try has a nonce of its own. All throw WECHAT_UNREACHABLE, WECHAT_TIMEOUT, WECHAT_BAD_RESPONSE and
 * WECHAT_CONFIG_INVALID.
 */
export class CallerV2 {
  readonly #options: CallerOptionsV2

  constructor(options: CallerOptionsV2) {
    this.#options = options
  }

  async sendOnce<T extends { status: 'ok' } | FailureV2>(merchant: Merchant, call: CallV2<T>): Promise<T> {
    const { upstream, secureUpstreamFor, meters } = this.#options
    const { path, appid, secure = false, build, read } = call
    const key = keyOf(merchant)
    const via = secure ? secureUpstreamFor(merchant) : upstream
    const body = build({ key, signType: SIGN_TYPE })
    const post = async () => {
      const answer = await via.send({ method: 'POST', path, headers: HEADERS, body })
      return read(answer.body, { appid, mchid: merchant.mchid, key })
    }
    return observedCall(meters, nameOf(path), post, outcomeOfV2)
  }

  /**
   * As `sendOnce`, and whether the call was repeated: once, unchanged, after WeChat said that the fault was its own.
   */
  async send<T extends { status: 'ok' } | FailureV2>(
    merchant: Merchant,
    call: CallV2<T>
  ): Promise<{ answer: T; repeated: boolean }> {
    const answer = await this.sendOnce(merchant, call)
    const repeated = asksAgain(answer)
    return { answer: repeated ? await this.sendOnce(merchant, call) : answer, repeated }
  }

  /** Once: a file is nothing that WeChat asks to repeat. */
  async openFile<T extends { status: 'ok' } | FailureV2>(merchant: Merchant, call: FileCallV2<T>): Promise<T> {
    const { upstream, meters } = this.#options
    const { path, build, open } = call
    const body = build({ key: keyOf(merchant), signType: SIGN_TYPE })
    const post = async () => open(await upstream.open({ method: 'POST', path, headers: HEADERS, body }))
    return observedCall(meters, nameOf(path), post, outcomeOfV2)
  }

  /**
   * Asks for something in the name of the merchant's first app; `fields` are those of this call alone. Repeats as
   * `send`, and throws the error that any answer but a success stands for.
   */
  async query(merchant: Merchant, path: string, fields: RequestFieldsV2): Promise<Fields> {
    const { answer } = await this.send(merchant, simpleCall(merchant, path, fields))
    if (answer.status !== 'ok') throw asServiceErrorV2(nameOf(path), answer)
    return answer.fields
  }
}

/** Without those that are undefined. */
export type RequestFieldsV2 = Readonly<Record<string, string | undefined>>

/** A call of flat fields with a signed answer, in the name of the merchant's first app. */
export function simpleCall(merchant: Merchant, path: string, fields: RequestFieldsV2): CallV2<AnswerV2> {
  const appid = firstAppOf(merchant)
  const build = (signing: SigningV2) =>
    buildRequestV2({ appid, mch_id: merchant.mchid, nonce_str: makeNonce(), ...fields }, signing)
  return { path, appid, build, read: readAnswerV2 }
}

/** The last part of a path, by which calls are counted and named. */
export const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)

/** The APIv2 key. Throws WECHAT_CONFIG_INVALID. */
export function keyOf({ apiV2Key }: Merchant): string {
  if (apiV2Key !== undefined) return apiV2Key
  throw new ServiceError('WECHAT_CONFIG_INVALID', {
    message: 'This merchant has no APIv2 key: set WECHAT_PAY_API_V2_KEY (apiV2Key), or use api v3'
  })
}

/** Throws APP_UNKNOWN. */
export function firstAppOf({ appids: [appid] }: Merchant): string {
  if (appid === undefined) throw new ServiceError('APP_UNKNOWN')
  return appid
}
