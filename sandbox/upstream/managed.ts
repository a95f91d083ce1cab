/** What the APIs with a managed access_token have in common: its check, and a record of the request byte by byte. */
import { createHash } from 'node:crypto'
import type { Call, Received } from '../state/calls.ts'
import { Refusal } from '../wire/errcodes.ts'
import type { World } from '../world.ts'
import type { Incoming, Upstream } from './serve.ts'
import { jsonBody, present, queryText, textOf, type Weixin, weixin } from './weixin.ts'

/** WeChat's largest upload; above it the sandbox answers 413. */
const BODY_LIMIT_BYTES = 10 * 1024 * 1024

interface Managed extends Pick<Weixin, 'api' | 'url'> {
  method: 'GET' | 'POST'
  /** The fields of a success, or a picture; `appid` is that of the token. Throws Refusal. */
  work(world: World, appid: string, request: Incoming): object
}

export function managed({ api, url, method, work }: Managed): Upstream {
  return weixin({
    api,
    url,
    bodyLimitBytes: BODY_LIMIT_BYTES,
    describe: describeManaged,
    work(world, request) {
      if (request.method !== method) throw new Refusal(method === 'GET' ? 43001 : 43002)
      return work(world, world.tokens.appidOf(queryText(request, 'access_token')), request)
    }
  })
}

function describeManaged(world: World, request: Incoming): Partial<Call> {
  const body = jsonBody(request)
  const openid = textOf(queryText(request, 'openid')) ?? textOf(body?.openid) ?? textOf(body?.touser)
  const appid = world.tokens.ownerOf(queryText(request, 'access_token'))
  return present({ appid, openid, received: received(request) })
}

export function received({ url, headers, body }: Incoming): Received {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0)
  const length = headers['content-length']
  return {
    query: withoutToken(url),
    ...(headers['content-type'] !== undefined && { contentType: headers['content-type'] }),
    ...(length !== undefined && { contentLength: Number(length) }),
    bodyBytes: bytes.length,
    bodySha256: createHash('sha256').update(bytes).digest('hex')
  }
}

/** The other parameters keep their order and their spelling. */
function withoutToken(url: string): string {
  const start = url.indexOf('?')
  if (start < 0) return ''
  const isToken = (pair: string) => new URLSearchParams(pair).has('access_token')
  return url
    .slice(start + 1)
    .split('&')
    .filter((pair) => !isToken(pair))
    .join('&')
}

/** The JSON of a POST. Throws Refusal 44002 where there is no body, 47001 where it is no JSON object. */
export function fieldsOf(request: Incoming): Record<string, unknown> {
  if (!Buffer.isBuffer(request.body) || request.body.length === 0) throw new Refusal(44002)
  const fields = jsonBody(request)
  if (fields === undefined) throw new Refusal(47001)
  return fields
}

/** A text that has to be there. Throws Refusal 47001. */
export function needText(fields: Record<string, unknown>, name: string): string {
  const value = textOf(fields[name])
  if (value === undefined) throw new Refusal(47001, `data format error, ${name} missing`)
  return value
}
