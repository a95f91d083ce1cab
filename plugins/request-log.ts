/** One line for each request, of what may be known: no address, no body, no header, and of the URL only the route. */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { placesOf, ServiceError } from '../lib/errors.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The app, as soon as it is known. */
    appid: string | undefined
    /** What a door of WeChat made of a callback, for its log line. */
    verdict: Record<string, unknown> | undefined
  }
}

function lineOf(request: FastifyRequest, reply: FastifyReply) {
  return {
    reqId: request.id,
    route: `${request.method} ${request.routeOptions.url ?? '(none)'}`,
    status: reply.statusCode,
    durationMs: Math.round(reply.elapsedTime * 10) / 10,
    caller: request.caller,
    appid: request.appid,
    ...request.verdict
  }
}

/**
 * Causes are named, not shown: an error of Redis or of HTTP may carry what was asked of it, one of JSON.parse what was
 * to be read. For the unforeseen the places of its stack are shown.
 */
function failureOf(failure: ServiceError | FastifyError) {
  if (!(failure instanceof ServiceError)) return { code: failure.code, detail: failure.message }
  const { code, detail, wechat } = failure
  const cause = failure.cause instanceof Error ? failure.cause : undefined
  const named = cause && `${cause.name}${'code' in cause ? ` ${String(cause.code)}` : ''}`
  const stack = code === 'INTERNAL' && cause ? placesOf(cause) : undefined
  return {
    code,
    detail,
    errcode: wechat?.errcode ?? wechat?.code,
    errmsg: wechat?.errmsg ?? wechat?.message,
    rid: wechat?.rid,
    cause: named,
    stack
  }
}

export default fp(
  async (app: FastifyInstance) => {
    app.decorateRequest('appid', undefined)
    app.decorateRequest('verdict', undefined)
    const { log } = app

    app.addHook('onRequestAbort', function logAborted(request, done) {
      const { id: reqId, caller, appid } = request
      const route = `${request.method} ${request.routeOptions.url ?? '(none)'}`
      log.info({ reqId, route, caller, appid, ...request.verdict }, 'request broken off by the client')
      done()
    })

    app.addHook('onResponse', function logRequest(request, reply, done) {
      const { failure } = request
      const quiet = request.routeOptions.logLevel === 'warn'
      if (failure === undefined) log[quiet ? 'debug' : 'info'](lineOf(request, reply), 'request')
      else
        log[reply.statusCode >= 500 ? 'error' : 'info']({ ...lineOf(request, reply), ...failureOf(failure) }, 'request')
      done()
    })
  },
  { name: 'request-log', dependencies: ['errors'], fastify: '5.x' }
)
