/** Where WeChat Pay sends its XML, with one face to everybody who cannot sign. */
import type { FastifyPluginAsync } from 'fastify'
import { receiveCallback, takeCallbacks, V2_BODY_LIMIT_BYTES } from '../../../_shared/callbacks.ts'
import { NotifyV2Schema, RefundNoticeSchema } from './schema.ts'

const routes: FastifyPluginAsync = async (app) => {
  takeCallbacks(app)
  const options = (channel: 'pay-v2' | 'pay-v2-refund') => ({
    config: { auth: 'wechat' as const, scope: 'callback' as const, channel },
    bodyLimit: V2_BODY_LIMIT_BYTES
  })

  app.post('/:mchid/notify', { ...options('pay-v2'), schema: NotifyV2Schema }, receiveCallback(app))
  app.post('/:mchid/refund', { ...options('pay-v2-refund'), schema: RefundNoticeSchema }, receiveCallback(app))
}

export default routes
