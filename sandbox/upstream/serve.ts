/** How every API of "WeChat" is served: note the call, refuse bodies without a length, play a fault, or answer. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Call } from '../state/calls.ts'
import type { Fault, UpstreamApi } from '../state/faults.ts'
import { pause, type World } from '../world.ts'

/** What an API may see of a request; a decrypted one is made by hand. */
export type Incoming = Pick<FastifyRequest, 'method' | 'url' | 'query' | 'headers' | 'body'> &
  Partial<Pick<FastifyRequest, 'params' | 'socket' | 'protocol'>>

export interface Answer {
  /** Empty: there is none. */
  contentType: string
  body: string | Buffer
  /** Default 200. */
  status?: number
  headers?: Record<string, string>
  /** For the list of calls: 0, an errcode, or WeChat Pay's word for what is wrong. */
  errcode: number | string
  /** For the list of calls: what could only be told when the request was opened. */
  noted?: Partial<Call>
}

export interface Upstream {
  readonly api: UpstreamApi
  readonly url: string
  /** Default 1 MiB. */
  readonly bodyLimitBytes?: number
  /** What the list of calls may show of a request: no secret, no token. Must not throw. */
  describe(world: World, request: Incoming): Partial<Call>
  /** `fault`: what is to go wrong while answering, as far as this API can do it. */
  answer(world: World, request: Incoming, fault?: Fault): Answer
  /** The failure that a fault asks for, in this API's form. */
  refuse(world: World, request: Incoming, fault: Fault): Answer
}

const GARBAGE = '<!DOCTYPE html><html><head><title>Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>'

/** A promise to Fastify that handles one request of `upstream`. */
export function serve(
  world: World,
  upstream: Upstream
): (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply> {
  return async (request, reply) => {
    const { api } = upstream
    const at = new Date(world.now()).toISOString()
    const call = world.calls.note({ api, at, method: request.method, ...upstream.describe(world, request) })
    if (request.method === 'POST' && request.headers['content-length'] === undefined) return sendEmpty(reply, call, 412)
    const fault = world.faults.take(api)
    return fault === undefined
      ? send(reply, call, upstream.answer(world, request))
      : play(fault, { world, upstream, request, reply, call })
  }
}

interface Scene {
  world: World
  upstream: Upstream
  request: FastifyRequest
  reply: FastifyReply
  call: Call
}

/** A late or lost answer leaves WeChat's work done (the code is used, the order exists); a refusal does not. */
function worksFirst({ processed, errcode, errmsg, garbage, httpStatus }: Fault): boolean {
  return processed ?? ![errcode, errmsg, garbage, httpStatus].some((field) => field !== undefined)
}

async function play(fault: Fault, { world, upstream, request, reply, call }: Scene): Promise<FastifyReply> {
  const { api: _, times: __, ...shape } = fault
  call.fault = Object.keys(shape).join(' ')
  const done = worksFirst(fault) ? upstream.answer(world, request, fault) : undefined
  await pause(world, (fault.delayMs ?? 0) + (fault.reset === true ? (fault.afterMs ?? 0) : 0))
  const status = fault.httpStatus
  if (fault.reset === true || world.closing.signal.aborted) return reset(request, reply)
  if (fault.garbage === true)
    return send(reply, call, { contentType: 'text/html', body: GARBAGE, errcode: 'garbage' }, status)
  if (fault.errcode !== undefined || fault.errmsg !== undefined)
    return send(reply, call, upstream.refuse(world, request, fault), status)
  if (status !== undefined) return sendEmpty(reply, call, status)
  return send(reply, call, done ?? upstream.answer(world, request, fault))
}

/** The peer sees ECONNRESET, as from a balancer that dropped the connection. */
function reset(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  reply.hijack()
  request.raw.socket.resetAndDestroy()
  return reply
}

function send(reply: FastifyReply, call: Call, answer: Answer, wanted?: number): FastifyReply {
  const { contentType, body, headers = {}, errcode, noted } = answer
  const status = wanted ?? answer.status ?? 200
  Object.assign(call, noted, { errcode })
  if (status !== 200) call.httpStatus = status
  if (contentType !== '') reply.header('content-type', contentType)
  return reply.code(status).headers(headers).send(body)
}

function sendEmpty(reply: FastifyReply, call: Call, status: number): FastifyReply {
  call.httpStatus = status
  return reply.code(status).send()
}
