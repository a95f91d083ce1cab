/** `app.callbacks`: what WeChat's doors refused or put aside, and how what was put aside comes in again. */
import type { FastifyInstance, FastifyReply, FastifyRequest, onSendHookHandler } from 'fastify'
import fp from 'fastify-plugin'
import type { CallbackDoor } from '../lib/callbacks/doors.ts'
import { createQuarantine, type QuarantineStore } from '../lib/callbacks/quarantine.ts'
import { createRefusedLog, type RefusedCallback, type RefusedLog } from '../lib/callbacks/refused.ts'
import { createRetries, type Retries } from '../lib/callbacks/retry.ts'

export interface Callbacks extends Retries {
  quarantine: QuarantineStore
  refused: RefusedLog
}

export interface CallbacksOptions {
  now: () => number
}

declare module 'fastify' {
  interface FastifyInstance {
    callbacks: Callbacks
  }
  interface FastifyContextConfig {
    /** Of a route where WeChat calls: the name of its door. */
    door?: CallbackDoor
  }
}

const HEADERS = ['wechatpay-serial', 'wechatpay-timestamp', 'wechatpay-nonce', 'content-length', 'user-agent']
const QUERY = ['timestamp', 'nonce', 'encrypt_type']
/** They are the sender's words, and enough of them to know it by. */
const MOST_SHOWN = 128
const OWNER = /^\w{1,32}$/
const REFUSED: ReadonlySet<unknown> = new Set(['refused', 'unknown-merchant', 'quarantined'])

export default fp<CallbacksOptions>(
  async (app: FastifyInstance, { now }) => {
    const { redis, keys, sealer } = app
    const quarantine = createQuarantine(redis, keys, sealer, now)
    const refused = createRefusedLog(redis, keys, now)
    app.decorate('callbacks', { quarantine, refused, ...createRetries(quarantine) })

    // Before the answer leaves, so that who has it finds the entry; but nobody waits for Redis.
    app.addHook('onRoute', function watch(route) {
      const door = route.config?.door
      if (door === undefined) return
      const noteRefusal: onSendHookHandler = (request, reply, _payload, done) => {
        const entry = entryOf(door, request, reply)
        if (entry !== undefined) refused.note(entry)
        done()
      }
      route.onSend = [noteRefusal, ...[route.onSend ?? []].flat()]
    })
  },
  { name: 'callbacks', dependencies: ['sessions', 'redis'], fastify: '5.x' }
)

function entryOf(
  door: CallbackDoor,
  request: FastifyRequest,
  { statusCode }: FastifyReply
): RefusedCallback | undefined {
  const { verdict, reason, bytes, sha256 } = request.verdict ?? {}
  // Too large, or compressed: refused before there was anything to judge.
  const unread = statusCode === 413 ? 'size' : statusCode === 415 ? 'encoding' : undefined
  if (!REFUSED.has(verdict) && unread === undefined) return undefined
  const { mchid, appid } = request.params as Record<string, string | undefined>
  return {
    door,
    verdict: typeof verdict === 'string' ? verdict : 'refused',
    reason: typeof reason === 'string' ? reason : (unread ?? String(verdict)),
    requestId: request.id,
    ...(mchid !== undefined && OWNER.test(mchid) && { mchid }),
    ...(appid !== undefined && OWNER.test(appid) && { appid }),
    ...(typeof bytes === 'number' && { bytes }),
    ...(typeof sha256 === 'string' && { sha256 }),
    headers: { ...shown(request.headers, HEADERS), ...contentType(request) },
    ...(door === 'push' && { query: shown(request.query, QUERY) })
  }
}

/** Those of `names` that are there once. */
function shown(values: unknown, names: string[]): Record<string, string> {
  const given = values as Record<string, unknown>
  const texts = names.flatMap((name) => {
    const value = given[name]
    return typeof value === 'string' ? [[name, value.slice(0, MOST_SHOWN)]] : []
  })
  return Object.fromEntries(texts)
}

/** As it came: the doors replace it, since they read every body raw. */
function contentType({ raw: { rawHeaders } }: FastifyRequest): Record<string, string> {
  const at = rawHeaders.findIndex((name, index) => index % 2 === 0 && name.toLowerCase() === 'content-type')
  const value = at === -1 ? undefined : rawHeaders[at + 1]
  return value === undefined ? {} : { 'content-type': value.slice(0, MOST_SHOWN) }
}
