/** The service as one Fastify plugin: capabilities in the order in which they need each other, then the routes. */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, Server } from 'node:http'
import { join } from 'node:path'
import autoload from '@fastify/autoload'
import { type FastifyHttpOptions, type FastifyInstance, LogController } from 'fastify'
import fp from 'fastify-plugin'
import type { DestinationStream } from 'pino'
import type { Settings } from './lib/settings/model.ts'
import { createProxyTrust } from './lib/util/proxies.ts'
import auth from './plugins/auth.ts'
import bodies from './plugins/bodies.ts'
import bodyBudgets, { type BodyBudgets } from './plugins/body-budgets.ts'
import callbacks from './plugins/callbacks.ts'
import clients from './plugins/clients.ts'
import connections, { refuseUnread } from './plugins/connections.ts'
import docs from './plugins/docs.ts'
import errors, { refuseUnrouted } from './plugins/errors.ts'
import events from './plugins/events.ts'
import headers from './plugins/headers.ts'
import health from './plugins/health.ts'
import meters from './plugins/meters.ts'
import metrics from './plugins/metrics.ts'
import overload, { type OverloadLimits } from './plugins/overload.ts'
import payments from './plugins/payments.ts'
import push from './plugins/push.ts'
import rateLimit from './plugins/rate-limit.ts'
import redis from './plugins/redis.ts'
import requestLog from './plugins/request-log.ts'
import sessions from './plugins/sessions.ts'
import tokens from './plugins/tokens.ts'
import validation from './plugins/validation.ts'
import wechat from './plugins/wechat.ts'
import { EVENT_SCHEMAS } from './routes/internal/events/event-schemas.ts'

export interface WxgateOptions {
  settings: Settings
  /** Milliseconds since 1970; tests move it. */
  now?: () => number
  /** The limits from which on requests are refused; tests lower them. */
  overload?: Partial<OverloadLimits>
  /** Bytes of bodies that each kind of endpoint may have under way; tests lower them. */
  bodyBudgets?: Partial<BodyBudgets>
}

const VALID_REQUEST_ID = /^[\w.:-]{1,128}$/
const BODY_LIMIT_BYTES = 64 * 1024
/**
 * A request that arrives drop by drop does not hold a connection, or a shut-down, for ever: neither its headers nor all
 * of it. Node.js takes the longer of two different times for the whole.
 */
const REQUEST_TIMEOUT_MS = 30_000
/** How late it may be noticed. */
const TIMEOUT_CHECK_MS = 1000
/**
 * The longest start. Whatever it waits for outside this process has a bound of a second or two of its own; this is for
 * a machine that is busy, on which Fastify's ten seconds are too short.
 */
const START_TIMEOUT_MS = 300_000

/** What Fastify itself has to be created with for this service. */
export function serverOptions(settings: Settings, stream?: DestinationStream): FastifyHttpOptions<Server> {
  const instance = randomBytes(6).toString('base64url')
  let count = 0
  return {
    logger: { level: settings.server.logLevel, ...(stream && { stream }) },
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: createProxyTrust(settings.server.trustProxy),
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    pluginTimeout: START_TIMEOUT_MS,
    // Requests on open connections are served while we stop: what they need closes last.
    return503OnClosing: false,
    frameworkErrors: refuseUnrouted,
    clientErrorHandler: refuseUnread,
    // An openid may be as long as login takes it.
    routerOptions: { maxParamLength: 128 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
    http: {
      optimizeEmptyRequests: true,
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      // It would answer without a body.
      requireHostHeader: false
    },
    genReqId: ({ headers }: IncomingMessage) => {
      const given = headers['x-request-id']
      return typeof given === 'string' && VALID_REQUEST_ID.test(given) ? given : `${instance}-${(++count).toString(36)}`
    }
  }
}

async function wxgate(app: FastifyInstance, { settings, now = Date.now, ...options }: WxgateOptions): Promise<void> {
  const { api } = settings.roles
  const hasKeys = settings.auth.internalApiKeys.length > 0

  await app.register(errors)
  await app.register(meters, settings.meters)
  await app.register(headers)
  await app.register(requestLog)
  await app.register(clients)
  await app.register(connections)
  // JSON; a door that takes something else says so itself.
  await app.register(bodies)
  await app.register(validation)
  await app.register(overload, options.overload ?? {})
  await app.register(redis, settings.redis)
  await app.register(sessions, { ...settings.sessions, now })
  await app.register(rateLimit, settings.rateLimit)
  await app.register(tokens, { ...settings.tokens, now })
  await app.register(auth, settings.auth)
  await app.register(bodyBudgets, options.bodyBudgets ?? {})
  // Before whatever has routes, or it would not describe them.
  if (api && hasKeys && settings.docs.enabled) await app.register(docs, { ...settings.docs, events: EVENT_SCHEMAS })
  await app.register(health)
  await app.register(wechat, { ...settings.wechat, now })
  await app.register(events, { ...settings.events, now })
  await app.register(callbacks, { now })
  await app.register(payments, { ...settings.pay, now })
  await app.register(push)
  if (hasKeys) await app.register(metrics)
  if (api) await app.register(autoload, routeFolders(hasKeys))
}

/** The routes by folder. Those under /internal need an API key, so they are left out where none is set. */
const routeFolders = (internal: boolean) => ({
  dir: join(import.meta.dirname, 'routes'),
  ignorePattern: /_shared|schemas?\.ts$/,
  routeParams: true,
  ignoreFilter: (path: string) => !internal && path.startsWith('/internal')
})

export default fp(wxgate, { name: 'wxgate', fastify: '5.x' })
