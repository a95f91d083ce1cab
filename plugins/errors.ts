/** One shape for every error that leaves the service. */
import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { JSON_WANTED, ServiceError } from '../lib/errors.ts'
import { absenceOf } from '../lib/redis/trouble.ts'
import { scopeOf } from './auth.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** What this request was refused for, with cause and detail, for the one log line it gets. */
    failure: ServiceError | FastifyError | undefined
    /** Notes why the request fails, and answers what may leave; for doors that answer in a shape of their own. */
    fail(error: unknown): ServiceError | FastifyError
  }
}

/**
 * Any thrown thing as something that may leave: our own errors and Fastify's refusals as they are, Redis being away by
 * name, all else INTERNAL.
 */
export function asPublicError(error: unknown): ServiceError | FastifyError {
  if (error instanceof ServiceError) return error
  const trouble = absenceOf(error)
  if (trouble !== undefined)
    return new ServiceError('REDIS_UNAVAILABLE', { cause: error, detail: `${trouble.cause}: Redis ${trouble.reason}` })
  return isRefusalOfFastify(error) ? worded(error) : new ServiceError('INTERNAL', { cause: error })
}

const isRefusalOfFastify = (error: unknown): error is FastifyError => {
  const { code, statusCode = 500 } = error as Partial<FastifyError>
  return typeof code === 'string' && code.startsWith('FST_') && statusCode < 500
}

/** Fastify's own words for a label that nobody reads do not say what to send. */
function worded(error: FastifyError): FastifyError {
  const isOfFastify = error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' && error.message === STATUS_CODES[415]
  return isOfFastify ? Object.assign(error, { message: JSON_WANTED }) : error
}

/** What goes out of an error that has nothing of WeChat's in it. */
export const problemOf = ({ statusCode = 500, code, message }: ServiceError | FastifyError, requestId: string) => ({
  statusCode,
  code,
  error: STATUS_CODES[statusCode] ?? 'Error',
  message,
  requestId
})

function bodyOf(error: ServiceError | FastifyError, request: FastifyRequest) {
  const statusCode = error.statusCode ?? 500
  const wechat = error instanceof ServiceError ? error.wechat : undefined
  // WeChat's words about our configuration (our address, our appid) are nothing for a mini-program.
  const hidden = statusCode === 500 && scopeOf(request) === 'public'
  const shown = hidden ? wechat?.errcode !== undefined && { errcode: wechat.errcode } : wechat
  return { ...problemOf(error, request.id), ...(shown && { wechat: shown }) }
}

function fail(this: FastifyRequest, error: unknown): ServiceError | FastifyError {
  this.failure = asPublicError(error)
  return this.failure
}

function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const known = request.fail(error)
  if (known instanceof ServiceError && known.retryAfterSeconds !== undefined)
    reply.header('retry-after', known.retryAfterSeconds)
  if (known.statusCode === 401 && !reply.hasHeader('www-authenticate')) reply.header('www-authenticate', 'Bearer')
  return reply.code(known.statusCode ?? 500).send(bodyOf(known, request))
}

/** For what Fastify refuses before it looks for a route, such as a path that cannot be decoded: no hook runs there. */
export function refuseUnrouted(error: FastifyError, request: FastifyRequest, reply: FastifyReply) {
  const { statusCode = 400, code } = error
  const message = 'The path of this request cannot be read; check its spelling'
  const name = STATUS_CODES[statusCode] ?? 'Error'
  request.log.info({ reqId: request.id, route: `${request.method} (none)`, status: statusCode, code }, 'request')
  request.server.meters.request(request.method, undefined, statusCode, 0)
  request.server.meters.refusal(code)
  return reply
    .code(statusCode)
    .headers({ 'cache-control': 'no-store', 'x-request-id': request.id })
    .send({ statusCode, code, error: name, message, requestId: request.id })
}

export default fp(
  async (app: FastifyInstance) => {
    app.decorateRequest('failure', undefined)
    app.decorateRequest('fail', fail)
    app.setErrorHandler(refuse)
    app.setNotFoundHandler((request, reply) => refuse(new ServiceError('NOT_FOUND'), request, reply))
  },
  { name: 'errors', fastify: '5.x' }
)
