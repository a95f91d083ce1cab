/**
 * The phone number of a user, for a backend that has to rely on it: the page cannot prove what /api/phone answered.
 */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { UserPhoneSchema } from './schema.ts'

const config = { auth: 'internal', scope: 'internal', keyScope: 'login', pageBody: true } as const

const routes: FastifyPluginAsyncTypebox = async (app) => {
  const { apps, userData } = app.wechat

  app.post('/', { config, schema: UserPhoneSchema }, async function phoneOfUser(request) {
    request.appid = apps.pick(request.params.appid).appid
    return userData.provenPhone(request.params, request.body)
  })
}

export default routes
