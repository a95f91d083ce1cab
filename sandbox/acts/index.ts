/**
 * The acts as endpoints under /sandbox, for the tour and for tests in any language. A new act is a file beside this one
 * and a line here.
 */
import type { FastifyPluginAsync } from 'fastify'
import { Fault } from '../state/faults.ts'
import type { World } from '../world.ts'
import { post } from './act.ts'
import { BillInput, bill } from './bill.ts'
import { RotateInput, rotateCertificate } from './certificates.ts'
import { LoginInput, login } from './login.ts'
import { OpenDataInput, openData } from './open-data.ts'
import { order, PlaceInput, place } from './orders.ts'
import { PayInput, pay } from './pay.ts'
import { PhoneButtonInput, phoneButton } from './phone-button.ts'
import { PushInput, push } from './push.ts'
import { RefundInput, refund } from './refund.ts'
import { DropSessionKeyInput, dropSessionKey } from './session-key.ts'
import { SubscriptionInput, subscription } from './subscription.ts'
import { ExpireTokenInput, expireToken } from './upkeep.ts'

export function actRoutes(world: World): FastifyPluginAsync {
  return async (app) => {
    post(app, world, '/login', LoginInput, login)
    post(app, world, '/phone-button', PhoneButtonInput, phoneButton)
    post(app, world, '/open-data', OpenDataInput, openData)
    post(app, world, '/pay', PayInput, (_, input) => pay(world, input as PayInput))
    post(app, world, '/orders', PlaceInput, place)
    post(app, world, '/refund', RefundInput, (_, input) => refund(world, input as RefundInput))
    post(app, world, '/bills', BillInput, bill)
    post(app, world, '/platform-certificates', RotateInput, rotateCertificate)
    post(app, world, '/push', PushInput, push)
    post(app, world, '/tokens/expire', ExpireTokenInput, expireToken)
    post(app, world, '/session-keys/drop', DropSessionKeyInput, dropSessionKey)
    post(app, world, '/subscription', SubscriptionInput, subscription)
    post(app, world, '/faults', Fault, ({ faults }, fault) => {
      faults.add(fault)
      return { added: true }
    })
    app.delete('/faults', async () => {
      world.faults.clear()
      return { cleared: true }
    })
    app.get('/calls', async () => world.calls.list())
    app.delete('/calls', async () => {
      world.calls.clear()
      return { cleared: true }
    })
    app.get<{ Params: { outTradeNo: string }; Querystring: { mchid?: string } }>(
      '/orders/:outTradeNo',
      async (request) => {
        return order(world, request.params.outTradeNo, request.query.mchid)
      }
    )
  }
}
