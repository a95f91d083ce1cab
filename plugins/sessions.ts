/** `app.sessions`: who is logged in, and `app.sealer` for all that must not lie open in Redis. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { createSealer, type Sealer } from '../lib/sessions/seal.ts'
import { createSessionStore, type SessionStore } from '../lib/sessions/store.ts'
import type { EncryptionKey } from '../lib/settings.ts'

export interface SessionsOptions {
  encryptionKeys: readonly EncryptionKey[]
  refreshTtlSeconds: number
  sessionKeyTtlSeconds: number
  now: () => number
}

declare module 'fastify' {
  interface FastifyInstance {
    sealer: Sealer
    sessions: SessionStore
  }
}

export default fp<SessionsOptions>(
  async (app: FastifyInstance, { encryptionKeys, ...times }) => {
    const { redis, keys } = app
    const sealer = createSealer(encryptionKeys)
    app.decorate('sealer', sealer)
    app.decorate('sessions', createSessionStore({ redis, keys, sealer, ...times }))
  },
  { name: 'sessions', dependencies: ['redis'], fastify: '5.x' }
)
