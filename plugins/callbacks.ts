/** `app.callbacks`: takes in what WeChat's callbacks bring, and knows what was refused or kept for a person. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { CallbackIntake } from '../lib/callbacks/intake.ts'
import type { CallbackChannel } from '../lib/callbacks/model.ts'
import { Quarantine } from '../lib/callbacks/quarantine.ts'
import { RefusedLog } from '../lib/callbacks/refused.ts'

export interface CallbacksOptions {
  now: () => number
}

declare module 'fastify' {
  interface FastifyInstance {
    callbacks: CallbackIntake
  }
  interface FastifyContextConfig {
    /** Of a route where WeChat calls. */
    channel?: CallbackChannel
  }
}

export default fp<CallbacksOptions>(
  async (app: FastifyInstance, { now }) => {
    const { redis, keys, sealer, meters } = app
    const { recorder: events, durability } = app.events
    const quarantine = new Quarantine(redis, keys, sealer, now)
    const refused = new RefusedLog(redis, keys, now)
    app.decorate('callbacks', new CallbackIntake({ events, durability, meters, quarantine, refused, now }))
  },
  { name: 'callbacks', dependencies: ['sessions', 'redis', 'events', 'meters'], fastify: '5.x' }
)
