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
    const { apps } = app.wechat
    const { redis, keys, events, durability, users, meters, callbacks } = app
    const pushes = createPushes({
      ...{ apps, events, durability, users, meters, now },
      queries: createPushQueries(redis, keys),
      quarantine: callbacks.quarantine
    })
    app.decorate('pushes', pushes)
    callbacks.register('push', pushes.retry)
  },
  { name: 'push', dependencies: ['wechat', 'sessions', 'events', 'meters', 'callbacks'], fastify: '5.x' }
)
