/** Where WeChat Pay sends its JSON, with one face to everybody who cannot sign. */
import type { FastifyPluginAsync } from 'fastify'
import { BODY_LIMIT_BYTES, receiveCallback, takeCallbacks } from '../../../_shared/callbacks.ts'
import { NotifyV3Schema } from './schema.ts'

const routes: FastifyPluginAsync = async (app) => {
  takeCallbacks(app)
  const config = { auth: 'wechat', scope: 'callback', channel: 'pay-v3' } as const

  app.post('/:mchid/notify', { config, bodyLimit: BODY_LIMIT_BYTES, schema: NotifyV3Schema }, receiveCallback(app))
}

export default routes
