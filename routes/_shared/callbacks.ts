/**
 * What the routes of WeChat's callbacks have in common: bytes and signature decide, whatever the label, and each
 * channel answers in words of its own.
 */
import { hash } from 'node:crypto'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { readRawBodies } from './bodies.ts'

export const BODY_LIMIT_BYTES = 1024 * 1024
/** For APIv2, whose notices have a kilobyte or two. */
export const V2_BODY_LIMIT_BYTES = 64 * 1024
/** WeChat has its own pauses; this is for whoever stands in between. */
const RETRY_AFTER_SECONDS = 1
const TOO_LARGE = 413

/** The body comes raw, and every failure goes out in the words of the route's channel. */
export function takeCallbacks(app: FastifyInstance): void {
  const { callbacks } = app
  readRawBodies(app)

  app.addHook('onRequest', async function refuseCompressed(request, reply) {
    const encoding = request.headers['content-encoding'] || 'identity'
    request.headers['content-type'] = 'application/octet-stream'
    if (encoding.toLowerCase() === 'identity') return
    // That is not what was signed.
    refuseUnread(app, request, 'encoding')
    const { statuses, failure } = callbacks.channel(channelOf(request))
    // Where its status is that of any refusal, the log has to say why.
    if (statuses.compressed === statuses.refused) request.verdict = { verdict: 'refused', reason: 'encoding' }
    return send(reply, statuses.compressed, failure)
  })

  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const status = noteFailure(error, request, reply)
    if (status === TOO_LARGE) refuseUnread(app, request, 'size')
    return send(reply, status, callbacks.channel(channelOf(request)).failure)
  })
}

/** The handler of a callback. `of`: a message, or the console's check of the address. */
export const receiveCallback = (app: FastifyInstance, of: 'read' | 'check' = 'read') =>
  async function receive(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { mchid, appid = '' } = paramsOf(request)
    const { headers, query } = request
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    const seen = of === 'read' ? { bytes: body.length, sha256: hash('sha256', body) } : {}
    request.verdict = { ...(mchid !== undefined && { mchid }), ...seen }
    const message = { owner: mchid ?? appid, headers, query: query as Record<string, unknown>, body }
    const sighting = { ...sightingOf(request), ...seen }
    const outcome = await app.callbacks.receive(channelOf(request), message, sighting, of)
    request.verdict = { ...request.verdict, ...outcome.log }
    if (outcome.verdict === 'quarantined') warnOfQuarantine(request)
    return send(reply, outcome.status ?? noteFailure(outcome.cause, request, reply), outcome.answer)
  }

/** It waits for a person. */
const warnOfQuarantine = ({ log, verdict }: FastifyRequest): void =>
  log.error(
    verdict,
    'an authentic callback waits in quarantine: it contradicts our settings or our order, or cannot be read'
  )

function channelOf({ routeOptions }: FastifyRequest) {
  const { channel } = routeOptions.config
  if (channel === undefined) throw new Error(`the route ${routeOptions.url} does not say its channel`)
  return channel
}

const paramsOf = ({ params }: FastifyRequest) => params as { mchid?: string; appid?: string }

/** Callbacks are read raw whatever their label says; the list of refused ones shows it as it came. */
function sightingOf(request: FastifyRequest) {
  const { rawHeaders } = request.raw
  const at = rawHeaders.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === 'content-type')
  return { requestId: request.id, ...paramsOf(request), contentType: at === -1 ? undefined : rawHeaders[at + 1] }
}

function refuseUnread({ callbacks }: FastifyInstance, request: FastifyRequest, reason: 'size' | 'encoding'): void {
  const { headers, query } = request
  const message = { headers, query: query as Record<string, unknown> }
  callbacks.refuseUnread(channelOf(request), message, sightingOf(request), reason)
}

/** For the log, and with the time to come again; answers the status. */
function noteFailure(error: unknown, request: FastifyRequest, reply: FastifyReply): number {
  const known = request.fail(error)
  if (known.statusCode === 503) reply.header('retry-after', RETRY_AFTER_SECONDS)
  return known.statusCode ?? 500
}

function send(
  reply: FastifyReply,
  status: number,
  { contentType, body }: { contentType?: string; body: string | null }
): FastifyReply {
  if (contentType !== undefined) reply.type(contentType)
  return reply.code(status).send(body)
}
