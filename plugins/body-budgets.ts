/**
 * How many bytes of request bodies may be under way, each door by itself: who fills one of them locks nobody out of
 * another. What is over it is answered OVERLOADED, and the rest of it is not read.
 */
import { finished, Transform, type TransformCallback } from 'node:stream'
import { Gauge } from '@prometheus-io/client'
import type {
  FastifyContextConfig,
  FastifyInstance,
  FastifyRequest,
  onSendHookHandler,
  preParsingHookHandler,
  RequestPayload
} from 'fastify'
import fp from 'fastify-plugin'
import { ServiceError } from '../lib/errors.ts'
import { type BodyAccount, BodyBudget } from '../lib/limits/body-budget.ts'
import { hasBody, readsBody } from './bodies.ts'

/** In bytes. */
export interface BodyBudgets {
  /** WeChat Pay's callbacks. */
  pay: number
  /** Message push. */
  push: number
  /** Mini-programs, and whoever else needs no API key. */
  api: number
  /** The merchant's backend, which passes files on. */
  internal: number
}

const MIB = 1024 * 1024

/**
 * Together, and twice over for a moment while bodies are put together, less than a container of 384 MiB has left. A
 * quarter of them, which one client may take, are some thousand callbacks at the same instant, or one file of the
 * largest size.
 */
const BUDGETS: BodyBudgets = { pay: 16 * MIB, push: 16 * MIB, api: 16 * MIB, internal: 64 * MIB }

declare module 'fastify' {
  interface FastifyRequest {
    /** What this request's body takes of its door's budget. */
    bodyAccount: BodyAccount | undefined
  }
}

/** Register it after `auth`, and before the routes. */
export default fp<Partial<BodyBudgets>>(
  async (app: FastifyInstance, limits) => {
    const sizes = { ...BUDGETS, ...limits }
    const budgets = {
      pay: new BodyBudget(sizes.pay),
      push: new BodyBudget(sizes.push),
      api: new BodyBudget(sizes.api),
      internal: new BodyBudget(sizes.internal)
    }
    app.decorateRequest('bodyAccount', undefined)

    app.addHook('onRoute', function bound(route) {
      if (!readsBody(route)) return
      const budget = budgets[doorOf(route.config)]
      route.preParsing = [countBy(budget), ...[route.preParsing ?? []].flat()]
      route.onSend = [closeAccount, ...[route.onSend ?? []].flat()]
    })

    new Gauge({
      name: 'wxgate_body_bytes',
      help: 'Bytes of request bodies received and not handled yet',
      labelNames: ['door'],
      registers: [app.meters.registry],
      collect() {
        for (const [door, { bytes }] of Object.entries(budgets)) this.set({ door }, bytes)
      }
    })
  },
  { name: 'body-budgets', dependencies: ['auth', 'bodies', 'clients', 'errors', 'meters'], fastify: '5.x' }
)

function doorOf({ auth, channel }: Partial<FastifyContextConfig> = {}): keyof BodyBudgets {
  if (channel !== undefined) return channel === 'push' ? 'push' : 'pay'
  return auth === 'internal' || auth === 'docs' ? 'internal' : 'api'
}

/**
 * Up to here a body counts as soon as it is announced, which costs less than to count it while it comes. Callbacks are
 * shorter.
 */
const SMALL_BYTES = 4096

/**
 * How long a body will be, where that is known and little enough to count at once. One in chunks may be of thousands of
 * pieces.
 */
function smallLength({ raw, headers }: FastifyRequest): number | undefined {
  if (headers['transfer-encoding'] !== undefined) return undefined
  const length = raw.complete ? raw.readableLength : Number(headers['content-length'])
  return raw.complete || length <= SMALL_BYTES ? length : undefined
}

const countBy =
  (budget: BodyBudget): preParsingHookHandler =>
  (request, reply, payload, done) => {
    if (!hasBody(request.headers)) return done(null, payload)
    const account = budget.open(() => request.client)
    request.bodyAccount = account
    const length = smallLength(request)
    if (length === undefined) return done(null, counted(payload, account))
    if (account.add(length)) return done(null, payload)
    reply.header('connection', 'close')
    done(new ServiceError('OVERLOADED'))
  }

/**
 * The same bytes, each piece counted. Fails with OVERLOADED at the first that is too much, and with whatever `payload`
 * fails.
 */
function counted(payload: RequestPayload, account: BodyAccount): RequestPayload {
  const through = new Transform({
    transform(piece: Buffer, _encoding: BufferEncoding, next: TransformCallback) {
      if (account.add(piece.length)) next(null, piece)
      else next(new ServiceError('OVERLOADED'))
    }
  })
  // The reader of this body may no longer be listening.
  through.on('error', () => undefined)
  finished(payload, { writable: false }, (error) => {
    if (error) through.destroy(error)
  })
  return payload.pipe(through)
}

/** By now the answer is there, so the body is not needed any more. */
const closeAccount: onSendHookHandler = (request, _reply, payload, done) => {
  request.bodyAccount?.close()
  request.bodyAccount = undefined
  done(null, payload)
}
