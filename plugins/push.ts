/** Message push: what users and WeChat tell a mini-program's backend. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { PushChannel } from '../lib/push/channel.ts'
import { PushQueries } from '../lib/push/queries.ts'

export default fp(
  async (app: FastifyInstance) => {
    const { redis, keys } = app
    const { users } = app.sessions
    const { apps } = app.wechat
    app.callbacks.register(new PushChannel({ apps, users, queries: new PushQueries(redis, keys) }))
  },
  { name: 'push', dependencies: ['wechat', 'sessions', 'callbacks'], fastify: '5.x' }
)
