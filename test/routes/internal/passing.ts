/** What the tests of the passthrough share: requests sent byte for byte, and a WeChat that shows what reached it. */
import { once } from 'node:events'
import { request as httpRequest, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { API_KEY, APPID } from '../../helper.ts'
import { listenFor } from '../../listen.ts'

export interface Sent {
  method?: string
  headers?: OutgoingHttpHeaders
  body?: Buffer | string
  appid?: string
}

export interface Got {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  json(): Record<string, unknown>
}

export type Pass = (path: string, sent?: Sent) => Promise<Got>

/** Calls `/internal/apps/{appid}/wechat{path}` over a connection, because `inject` may change the URL unnoticed. */
export async function passing(app: FastifyInstance): Promise<Pass> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return async (path, { method = 'GET', headers, body, appid = APPID } = {}) => {
    const request = httpRequest({
      port,
      method,
      path: `/internal/apps/${appid}/wechat${path}`,
      headers: { authorization: `Bearer ${API_KEY}`, ...headers },
      agent: false
    })
    request.end(body)
    const [answer] = await once(request, 'response')
    const bytes = await buffer(answer)
    const { statusCode: status, headers: answered } = answer
    return { status, headers: answered, body: bytes, json: () => JSON.parse(bytes.toString()) }
  }
}

/** A second passes with each look at it, so that no renewal waits for the next second. */
export function hastyClock(): () => number {
  let nowMs = Date.now()
  return () => {
    nowMs += 1000
    return nowMs
  }
}

export interface Reached {
  method: string | undefined
  url: string | undefined
  headers: IncomingHttpHeaders
  body: Buffer
}

export interface Reply {
  status?: number
  headers?: OutgoingHttpHeaders
  body?: Buffer | string
}

export interface Echo {
  /** For WECHAT_API_ORIGIN. */
  origin: string
  /** The calls that came, but those for a token, oldest first. */
  reached: Reached[]
  /** How often a token was asked for. The first is `tok+/=1`. */
  tokens(): number
  /** The next answers, in turn; the last one repeats. */
  answer(...replies: Reply[]): void
}

/** It gives a new token each time it is asked, and answers as it is told. */
export async function startEcho(t: Test): Promise<Echo> {
  const reached: Reached[] = []
  let tokens = 0
  let replies: Reply[] = [{ body: '{"errcode":0,"errmsg":"ok"}' }]
  const { origin } = await listenFor(t, async (request, response) => {
    const { method, url, headers } = request
    const body = await buffer(request)
    if (url === '/cgi-bin/stable_token') {
      tokens += 1
      response.end(JSON.stringify({ access_token: `tok+/=${tokens}`, expires_in: 7200 }))
      return
    }
    reached.push({ method, url, headers, body })
    const reply = (replies.length > 1 ? replies.shift() : replies[0]) ?? {}
    response.writeHead(reply.status ?? 200, reply.headers).end(reply.body)
  })
  return {
    origin,
    reached,
    tokens: () => tokens,
    answer(...next) {
      replies = next
    }
  }
}
