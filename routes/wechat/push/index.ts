/** Where WeChat sends message push, with one face to everybody who cannot sign. */
import type { FastifyPluginAsync } from 'fastify'
import { BODY_LIMIT_BYTES, receiveCallback, takeCallbacks } from '../../_shared/callbacks.ts'
import { CheckPushUrlSchema, PushSchema } from './schema.ts'

const routes: FastifyPluginAsync = async (app) => {
  const { apps } = app.wechat
  const options = {
    config: { auth: 'wechat', scope: 'callback', channel: 'push' } as const,
    bodyLimit: BODY_LIMIT_BYTES
  }
  takeCallbacks(app)

  app.addHook('preHandler', async function nameApp(request) {
    const { appid } = request.params as { appid: string }
    request.appid = apps.knows(appid) ? appid : undefined
  })

  const check = receiveCallback(app, 'check')
  app.get('/:appid', { ...options, exposeHeadRoute: false, schema: CheckPushUrlSchema }, check)
  app.post('/:appid', { ...options, schema: PushSchema }, receiveCallback(app))
}

export default routes
