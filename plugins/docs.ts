/**
 * /docs: what every route takes and answers, as OpenAPI and as a page to read it on, from the schemas that the routes
 * run by.
 */
import { readFileSync } from 'node:fs'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance, RouteOptions } from 'fastify'
import fp from 'fastify-plugin'
import { aboutDocument } from '../lib/openapi/about.ts'
import { finishDocument } from '../lib/openapi/document.ts'
import { describeRoute } from '../lib/openapi/operation.ts'
import type { Schema } from '../lib/openapi/refer.ts'
import type { EventSchema } from '../lib/openapi/webhooks.ts'
import { scopesOpening } from './auth/key-scopes.ts'

export interface DocsOptions {
  publicUrl: string
  /** What is posted to the merchant's backend. */
  events: readonly EventSchema[]
}

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))

/**
 * All from here; the page styles some elements by attribute. Nothing is upgraded to https, since inside it is plain
 * http.
 */
const POLICY = {
  'default-src': "'none'",
  'base-uri': "'none'",
  'connect-src': "'self'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
  'img-src': "'self' data:",
  'script-src': "'self'",
  'style-src': "'self' 'unsafe-inline'"
}

/** /docs needs a key, so shared caches must not keep it. */
const CACHE_CONTROL = 'private, no-cache'

/** Register it before the routes that it is to describe, and after `auth`. */
export default fp<DocsOptions>(
  async (app: FastifyInstance, { publicUrl, events }) => {
    await app.register(swagger, {
      openapi: aboutDocument({ version, publicUrl, events }),
      transform: ({ route, ...made }) => describe(route, 'openapiObject' in made ? made.openapiObject : {}),
      transformObject: (documented) => finishDocument('openapiObject' in documented ? documented.openapiObject : {}),
      convertConstToEnum: false
    })

    await app.register(async (scope) => {
      scope.routeDefaults = { auth: 'docs', scope: 'operation' }
      scope.addHook('onSend', async (_request, reply) => void reply.header('cache-control', CACHE_CONTROL))
      await scope.register(swaggerUi, {
        routePrefix: '/docs',
        staticCSP: POLICY,
        theme: { title: 'wxgate' },
        uiConfig: { layout: 'BaseLayout', docExpansion: 'list', defaultModelsExpandDepth: 0 }
      })
    })
  },
  { name: 'docs', dependencies: ['auth'], fastify: '5.x' }
)

function describe({ url, method, schema = {}, config }: RouteOptions, { components }: { components?: object }) {
  if (schema.hide) return { schema, url }
  const { auth = 'none', scope = 'operation', limit, keyScope } = config ?? {}
  const keyScopes = keyScope === undefined ? [] : scopesOpening(keyScope, method)
  const limited = limit !== undefined || auth === 'session' || auth === 'session-keys'
  const route = { url, schema: schema as Schema, guard: auth, scope, keyScopes, limited }
  return describeRoute(route, (components as { schemas: Schema }).schemas)
}
