/** How a scope of routes reads its bodies, where that is not as JSON. */
import type { FastifyInstance } from 'fastify'

/** Every body of this scope comes as its bytes, whatever its Content-Type says. */
export function readRawBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
}

/**
 * No route of this scope takes a body. Many HTTP clients send one all the same, or label one: it is read and left
 * alone.
 */
export function ignoreBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => done(null))
}
