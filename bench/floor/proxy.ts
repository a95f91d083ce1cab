/** A call that the floor passes on to WeChat, with the access token that it was started with. */
import type { Pool } from 'undici'
import { answer, type FloorExchange } from './answer.ts'

export interface FloorProxyOptions {
  appid: string
  apiKey: string
  accessToken: string
  upstream: Pool
}

export class FloorProxy {
  readonly #upstream: Pool
  readonly #prefixLength: number
  readonly #authorization: string
  readonly #query: string

  constructor({ appid, apiKey, accessToken, upstream }: FloorProxyOptions) {
    this.#upstream = upstream
    this.#prefixLength = `/internal/apps/${appid}/wechat`.length
    this.#authorization = `Bearer ${apiKey}`
    this.#query = `?access_token=${accessToken}`
  }

  async passOn({ request, response, body }: FloorExchange): Promise<void> {
    const { url = '', headers } = request
    if (headers.authorization !== this.#authorization) throw new Error('a wrong API key')
    const answered = await this.#upstream.request({
      method: 'POST',
      path: url.slice(this.#prefixLength) + this.#query,
      headers: { 'content-type': headers['content-type'] },
      body
    })
    const whole = Buffer.from(await answered.body.arrayBuffer())
    answer(response, String(answered.headers['content-type']), whole)
  }
}
