/**
 * The floor: what the gateway's work costs at least. The same answers by node:http, undici and ioredis, with nothing
 * validated, counted, limited or logged. It shares no code with the gateway.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Redis } from 'ioredis'
import { Pool } from 'undici'
import { answerJson, type FloorExchange, type FloorHandler } from './floor/answer.ts'
import { FloorCallbacks } from './floor/callbacks.ts'
import { FloorEvents } from './floor/events.ts'
import { readFloorOptions } from './floor/options.ts'
import { FloorProxy } from './floor/proxy.ts'
import { FloorSessions } from './floor/sessions.ts'
import { FloorTokens } from './floor/tokens.ts'
import { FloorUsers } from './floor/users.ts'

/** Longer than a case waits for its next turn. */
const KEEP_ALIVE_MS = 600_000

const options = readFloorOptions(process.env)
const redis = new Redis({ path: options.redisSocket })
const upstream = new Pool(options.upstream, { connections: 64 })
const tokens = new FloorTokens(options.jwtKey)
const sessions = await FloorSessions.connect(redis, options.encryptionKey)
const users = new FloorUsers({ ...options, upstream, tokens, sessions })
const callbacks = new FloorCallbacks({ ...options, events: await FloorEvents.connect(redis) })
const proxy = new FloorProxy({ ...options, upstream })

const exact = new Map<string, FloorHandler>([
  ['/api/test', ({ response }) => answerJson(response, { ok: 1 })],
  ['/api/login', (exchange) => users.logIn(exchange)],
  ['/api/token/refresh', (exchange) => users.refresh(exchange)],
  ['/api/session', (exchange) => users.show(exchange)],
  ['/api/phone', (exchange) => users.phone(exchange)],
  [`/wechat/pay/v2/${options.mchid}/notify`, (exchange) => callbacks.payV2(exchange)],
  [`/wechat/pay/v3/${options.mchid}/notify`, (exchange) => callbacks.payV3(exchange)],
  [`/wechat/push/${options.appid}`, (exchange) => callbacks.push(exchange)]
])

/** `path` is without its query. What is not known here is passed on to WeChat. */
const handlerOf = (path: string): FloorHandler => exact.get(path) ?? ((exchange) => proxy.passOn(exchange))

function take(request: IncomingMessage, response: ServerResponse): void {
  const url = request.url ?? ''
  const queryAt = url.indexOf('?')
  const handle = handlerOf(queryAt === -1 ? url : url.slice(0, queryAt))
  if (request.method === 'GET') return void handle({ request, response, body: Buffer.alloc(0) })
  readWhole(request, (body) => void handle({ request, response, body } satisfies FloorExchange))
}

function readWhole(request: IncomingMessage, onBody: (body: Buffer) => void): void {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => void chunks.push(chunk))
  request.on('end', () => onBody(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)))
}

const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, take)
server.listen(Number(process.env.PORT), '127.0.0.1')
