/** One line for each request, of what may be known: no address, no body, no header, and of the URL only the route. */
import type { Readable } from 'node:stream'
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
  interface FastifyReply {
    /** Sends `body` as it comes. One that breaks off is no response that ends, so it is logged and counted apart. */
    sendOpen(body: Readable): FastifyReply
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
    const { log, meters } = app

    function logAborted({ id: reqId, caller, appid, method, routeOptions, verdict }: FastifyRequest): void {
      const route = `${method} ${routeOptions.url ?? '(none)'}`
      log.info({ reqId, route, caller, appid, ...verdict }, 'request broken off by the client')
    }

    app.addHook('onRequestAbort', function logUnfinished(request, done) {
      logAborted(request)
      done()
    })

    app.decorateReply('sendOpen', function sendOpen(this: FastifyReply, body: Readable) {
      const { request, raw } = this
      body.once('error', (error) => void request.fail(error))
      raw.once('close', () => {
        if (raw.writableFinished) return
        meters.abort(request.method, request.routeOptions.url)
        if (request.failure === undefined) logAborted(request)
        else log.error({ ...lineOf(request, this), ...failureOf(request.failure) }, 'answer broken off')
      })
      return this.send(body)
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
  { name: 'request-log', dependencies: ['errors', 'meters'], fastify: '5.x' }
)
