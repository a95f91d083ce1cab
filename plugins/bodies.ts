/**
 * Bodies are JSON, and an empty one is none, whatever its label: calls that need none do their work, others say what is
 * missing.
 */
import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import {
  errorCodes,
  type FastifyInstance,
  type preParsingHookHandler,
  type preValidationHookHandler,
  type RouteOptions
} from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'

/** Whether Fastify reads a body there. */
export const readsBody = ({ method }: Pick<RouteOptions, 'method'>): boolean => method !== 'GET' && method !== 'HEAD'

/**
 * Takes the label off nothing, so that Fastify does not wait for what it names. With `optimizeEmptyRequests` (app.ts)
 * Node.js closes the stream of such a request before anybody reads it, and no parser would ever see its end.
 */
const unlabel: preParsingHookHandler = (request, _reply, payload, done) => {
  if (!hasBody(request.headers)) delete request.headers['content-type']
  done(null, payload)
}

/** Whether a body follows these headers. A chunked one may turn out empty, which the parsers see. */
export function hasBody({ 'content-length': length, 'transfer-encoding': coding }: IncomingHttpHeaders): boolean {
  return coding !== undefined || (length !== undefined && Number(length) !== 0)
}

/** So that the validator names the members that it misses. */
const missAllMembers: preValidationHookHandler = (request, _reply, done) => {
  if (request.body === undefined) request.body = {}
  done()
}

const needsObject = ({ schema }: RouteOptions): boolean =>
  (schema?.body as { type?: unknown } | undefined)?.type === 'object'

/** Register it before whatever has routes. Scopes with parsers of their own replace these. */
export default fp(
  async (app: FastifyInstance) => {
    const parseJson = app.getDefaultJsonParser('error', 'error')
    app.removeAllContentTypeParsers()

    // Bytes that are no text would be taken, signed and passed on as other ones.
    app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
      if (bytes.length === 0) done(null)
      else if (!isUtf8(bytes)) done(new errorCodes.FST_ERR_CTP_INVALID_JSON_BODY())
      else parseJson(request, bytes.toString(), done)
    })
    app.addContentTypeParser<Buffer>('*', { parseAs: 'buffer' }, (_request, bytes, done) => {
      done(bytes.length === 0 ? null : new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE())
    })

    // Nobody asked for it, so it is not read either.
    app.addHook('onRequest', function refuseUnknown(request, _reply, done) {
      done(request.is404 ? new ServiceError('NOT_FOUND') : undefined)
    })

    app.addHook('onRoute', function acceptNoBody(route) {
      if (!readsBody(route)) return
      route.preParsing = [unlabel, ...[route.preParsing ?? []].flat()]
      if (needsObject(route)) route.preValidation = [missAllMembers, ...[route.preValidation ?? []].flat()]
    })
  },
  { name: 'bodies', dependencies: ['errors', 'headers', 'request-log'], fastify: '5.x' }
)
