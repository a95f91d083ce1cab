/**
 * `app.sessions`: who is logged in; `app.users`: all that is held of one; `app.heldKeys`: with what their data opens;
 * and `app.sealer` for all that must not lie open in Redis.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { EncryptionKey } from '../lib/crypto/seal.ts'
import { createSealer, type Sealer } from '../lib/crypto/seal.ts'
import { createHeldKeys, type HeldKeys } from '../lib/sessions/held-keys.ts'
import { createSessionStore, type SessionStore, type SessionStoreOptions } from '../lib/sessions/store.ts'
import { createUsers, type Users } from '../lib/sessions/users.ts'

export interface SessionsOptions {
  encryptionKeys: readonly EncryptionKey[]
  refreshTtlSeconds: number
  sessionKeyTtlSeconds: number
  sessionMaxAgeSeconds: number
  now: () => number
}

declare module 'fastify' {
  interface FastifyInstance {
    sealer: Sealer
    heldKeys: HeldKeys
    sessions: SessionStore
    users: Users
  }
}

export default fp<SessionsOptions>(
  async (app: FastifyInstance, { encryptionKeys, ...times }) => {
    const { redis, keys } = app
    const sealer = createSealer(encryptionKeys)
    app.decorate('sealer', sealer)
    const onDamaged = warnOnce(app)
    const sessions = createSessionStore({ redis, keys, sealer, onDamaged, ...times })
    app.decorate('heldKeys', createHeldKeys({ redis, keys, sealer, onDamaged, now: times.now }))
    app.decorate('sessions', sessions)
    app.decorate('users', createUsers({ redis, keys, sessions, now: times.now }))
  },
  { name: 'sessions', dependencies: ['redis'], fastify: '5.x' }
)

/** One line for each kind of damage and app: what is damaged is asked for again and again. */
function warnOnce({ log }: FastifyInstance): SessionStoreOptions['onDamaged'] {
  const told = new Set<string>()
  return (appid, what) => {
    if (told.has(`${what} ${appid}`)) return
    told.add(`${what} ${appid}`)
    log.warn({ appid, what }, 'damaged in Redis, and counts as absent until the next login')
  }
}
