/**
 * WeChat's platform API: JSON in and out, whatever the label says, and errcodes as errors
 * (docs/wechat/mini-program.md 0).
 */
import { setTimeout as pause } from 'node:timers/promises'
import { hasCode, ServiceError } from '../errors.ts'
import type { Incoming } from '../http/exchange.ts'
import type { Upstream } from '../http/upstream.ts'
import { type Meters, observedCall } from '../metrics/meters.ts'
import { answerText, readObject } from './answer-text.ts'
import type { ProtectedCalls } from './api-security/calls.ts'
import { readMembers } from './api-security/members.ts'
import { type UpstreamCall, wechatError } from './errcodes.ts'

/** Fields as they came, unchecked. */
export type WechatAnswer = Record<string, unknown>

export interface TokenHolder {
  appid: string
  token: string
}

export interface WechatClientOptions {
  upstream: Upstream
  protectedCalls?: Pick<ProtectedCalls, 'of'>
  meters: Pick<Meters, 'upstreamCall'>
  /** Milliseconds since 1970. */
  now: () => number
  /** How long to wait before the one repetition after -1. */
  busyPauseMs: number
}

export class WechatClient {
  readonly #options: WechatClientOptions

  constructor(options: WechatClientOptions) {
    this.#options = options
  }

  /** GET with a query. Throws WECHAT_* errors; a success may lack errcode. */
  get(call: UpstreamCall, path: string, query: Record<string, string>): Promise<WechatAnswer> {
    const request = { method: 'GET', path: withQuery(path, query) } as const
    return this.#repeatIfBusy(call, path, () => this.#options.upstream.send(request))
  }

  /** POST with a JSON body. */
  post(call: UpstreamCall, path: string, query: Record<string, string>, body: object): Promise<WechatAnswer> {
    const json = JSON.stringify(body)
    const headers = { 'content-type': 'application/json' }
    const request = { method: 'POST', path: withQuery(path, query), headers, body: json } as const
    return this.#repeatIfBusy(call, path, () => this.#options.upstream.send(request))
  }

  /** POST with a JSON body and the access_token of an app; protected where app and API have the API security mode. */
  postAs(call: UpstreamCall, { appid, token }: TokenHolder, path: string, body: object): Promise<WechatAnswer> {
    const send = this.#options.protectedCalls?.of(appid, path)
    if (send === undefined) return this.post(call, path, { access_token: token }, body)
    const parameters = readMembers(Buffer.from(JSON.stringify(body))) ?? new Map()
    return this.#repeatIfBusy(call, path, () => send(token, parameters))
  }

  /** -1 means that nothing was done: one repetition is safe, also for a login code. */
  async #repeatIfBusy(call: UpstreamCall, path: string, send: () => Promise<Incoming>): Promise<WechatAnswer> {
    const { meters, busyPauseMs } = this.#options
    const once = () => observedCall(meters, lastPartOf(path), () => this.#ask(call, send))
    try {
      return await once()
    } catch (error) {
      if (!hasCode(error, 'WECHAT_BUSY')) throw error
      await pause(busyPauseMs)
      return once()
    }
  }

  async #ask(call: UpstreamCall, send: () => Promise<Incoming>): Promise<WechatAnswer> {
    const answer = readAnswer(await send())
    const errcode = Number(answer.errcode ?? 0)
    if (!Number.isInteger(errcode)) throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'errcode is no number' })
    if (errcode !== 0) throw wechatError(call, errcode, String(answer.errmsg ?? ''), this.#options.now())
    return answer
  }
}

const lastPartOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)

const withQuery = (path: string, query: Record<string, string>): string => {
  const text = Object.entries(query)
    .map(([name, value]) => `${name}=${encodeURIComponent(value.toWellFormed())}`)
    .join('&')
  return text === '' ? path : `${path}?${text}`
}

function readAnswer(incoming: Incoming): WechatAnswer {
  const { status, body } = incoming
  if (status !== 200) throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: `WeChat answered with HTTP ${status}` })
  const answer = readObject(answerText(incoming) ?? '')
  if (answer !== undefined) return answer
  throw new ServiceError('WECHAT_BAD_RESPONSE', {
    detail: `WeChat's answer of ${body.length} bytes is not a JSON object`
  })
}
