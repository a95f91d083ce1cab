/** `app.sessions`: who is logged in, and what is held of them; `app.sealer` for all that must not lie open in Redis. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Sealer } from '../lib/crypto/seal.ts'
import { SessionKeys } from '../lib/sessions/session-keys.ts'
import { SessionStore } from '../lib/sessions/store.ts'
import { Users } from '../lib/sessions/users.ts'
import type { Settings } from '../lib/settings/model.ts'

export type SessionsOptions = Settings['sessions'] & { now: () => number }

export interface Sessions {
  store: SessionStore
  /** What the data of users opens with. */
  sessionKeys: SessionKeys
  /** All that is held of one of them. */
  users: Users
}

declare module 'fastify' {
  interface FastifyInstance {
    sealer: Sealer
    sessions: Sessions
  }
}

export default fp<SessionsOptions>(
  async (app: FastifyInstance, { encryptionKeys, ...times }) => {
    const { redis, keys } = app
    const { now } = times
    const sealer = new Sealer(encryptionKeys)
    const onDamaged = warnOnce(app)
    const sessionKeys = new SessionKeys({ redis, keys, sealer, onDamaged, now })
    const store = new SessionStore({ redis, keys, sealer, sessionKeys, onDamaged, ...times })
    app.decorate('sealer', sealer)
    app.decorate('sessions', { store, sessionKeys, users: new Users({ redis, keys, sessions: store, now }) })
  },
  { name: 'sessions', dependencies: ['redis'], fastify: '5.x' }
)

/** One line for each kind of damage and app: what is damaged is asked for again and again. */
function warnOnce({ log }: FastifyInstance): (appid: string, what: 'session' | 'session_keys') => void {
  const told = new Set<string>()
  return (appid, what) => {
    if (told.has(`${what} ${appid}`)) return
    told.add(`${what} ${appid}`)
    log.warn({ appid, what }, 'damaged in Redis, and counts as absent until the next login')
  }
}
