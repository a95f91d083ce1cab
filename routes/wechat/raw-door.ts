/**
 * What WeChat's doors have in common: bytes and signature decide, whatever the label, and each door fails in a form of
 * its own.
 */
import { hash } from 'node:crypto'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { readRawBodies } from '../_shared/bodies.ts'

export const BODY_LIMIT_BYTES = 1024 * 1024
/** Where APIv2 calls, whose notices have a kilobyte or two. */
export const V2_BODY_LIMIT_BYTES = 64 * 1024
/** WeChat has its own pauses; this is for whoever stands in between. */
const RETRY_AFTER_SECONDS = 1
const TOO_LARGE = 413

export interface RawDoor {
  /** Answers what was sent compressed: that is not what was signed. */
  refuseCompressed(request: FastifyRequest, reply: FastifyReply): FastifyReply
  /** Answers where no verdict was reached. */
  fail(reply: FastifyReply, status: number): FastifyReply
}

/** Every body of this scope comes raw, every failure goes out by `fail`. */
export function takeRaw(app: FastifyInstance, { refuseCompressed, fail }: RawDoor): void {
  readRawBodies(app)

  app.addHook('onRequest', async function relabel(request, reply) {
    const encoding = request.headers['content-encoding'] || 'identity'
    if (encoding.toLowerCase() !== 'identity') {
      countUnread(app, request, 'encoding')
      return refuseCompressed(request, reply)
    }
    request.headers['content-type'] = 'application/octet-stream'
    return
  })

  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const status = noteFailure(app, error, request, reply)
    if (status === TOO_LARGE) countUnread(app, request, 'size')
    return fail(reply, status)
  })
}

/** Refused before there was anything to judge. */
function countUnread({ meters }: FastifyInstance, request: FastifyRequest, reason: 'size' | 'encoding'): void {
  const { door } = request.routeOptions.config
  if (door !== undefined) meters.callback(door, 'refused', reason)
}

/** For the log, and with the time to come again; answers the status. */
export function noteFailure(
  app: FastifyInstance,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply
): number {
  const known = app.asPublicError(error)
  request.failure = known
  if (known.statusCode === 503) reply.header('retry-after', RETRY_AFTER_SECONDS)
  return known.statusCode ?? 500
}

/** The bytes, noted for the log by length and hash. */
export function rawBody(request: FastifyRequest, about: Record<string, unknown> = {}): Buffer {
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
  request.verdict = { ...about, bytes: body.length, sha256: hash('sha256', body) }
  return body
}

/** What became of a notice, for the log; a contradiction has a line of its own, for it waits for a person. */
export function noteOutcome(request: FastifyRequest, outcome: { verdict: string; [detail: string]: unknown }): void {
  request.verdict = { ...request.verdict, ...outcome }
  if (outcome.verdict === 'quarantined')
    request.log.error(
      request.verdict,
      'an authentic callback waits in quarantine: it contradicts our settings or our order, or cannot be read'
    )
}
