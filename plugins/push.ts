/** Message push: `app.pushes` receives what users and WeChat tell a mini-program's backend. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createPushQueries } from '../lib/push/queries.ts'
import { createPushes, type Pushes } from '../lib/push/receive.ts'

export interface PushOptions {
  now: () => number
}

declare module 'fastify' {
  interface FastifyInstance {
    pushes: Pushes
  }
}

export default fp<PushOptions>(
  async (app: FastifyInstance, { now }) => {
    const { redis, keys, apps, events, meters } = app
    app.decorate('pushes', createPushes({ apps, events, queries: createPushQueries(redis, keys), meters, now }))
  },
  { name: 'push', dependencies: ['wechat', 'events', 'meters'], fastify: '5.x' }
)
