/** `app.meters`: what everything counts into, and every request by its route. `/metrics` shows it. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Settings } from '../lib/settings/model.ts'
import manifest from '../package.json' with { type: 'json' }
import { AppMeters } from './metrics/app-meters.ts'

declare module 'fastify' {
  interface FastifyInstance {
    meters: AppMeters
  }
}

export default fp<Settings['meters']>(
  async (app: FastifyInstance, { appids }) => {
    const meters = new AppMeters({ appids, version: manifest.version })
    app.decorate('meters', meters)

    app.addHook('onResponse', function countRequest(request, reply, done) {
      const { failure, method, routeOptions } = request
      meters.request(method, routeOptions.url, reply.statusCode, reply.elapsedTime / 1000)
      if (failure !== undefined) meters.refusal(failure.code)
      done()
    })

    // A client that is gone gets no response, so this is the last that is seen of the request.
    app.addHook('onSend', function countUnheard({ method, routeOptions, raw }, _reply, _payload, done) {
      if (raw.socket.destroyed) meters.abort(method, routeOptions.url)
      done()
    })
  },
  { name: 'meters', dependencies: ['errors'], fastify: '5.x' }
)
