/** The door for APIv3 callbacks when something is wrong around it: the other rows of table E in pay.md. */
import { once } from 'node:events'
import { type IncomingMessage, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { startRedis } from '../../../tools/redis.ts'
import { MCHID } from '../../helper.ts'
import { keysOf, NO_WORKER, redisTroubles } from './notices.ts'
import {
  answers,
  buildV3,
  envelope,
  eventsIn,
  FAIL,
  keys,
  notify,
  payment,
  privateKeyOf,
  signed
} from './v3-notices.ts'

const notice = () => signed(envelope(payment()))

t.test('row 9: a body above 1 MiB is 413 and the connection is closed, whether it was announced or not', async (t) => {
  const { app } = await buildV3(t, { env: NO_WORKER })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const big = Buffer.alloc(1024 * 1024 + 1, 'x')
  for (const announced of [true, false]) {
    const request = send({
      port,
      method: 'POST',
      path: `/wechat/pay/v3/${MCHID}/notify`,
      headers: announced ? { 'content-length': big.length } : { 'transfer-encoding': 'chunked' }
    })
    request.on('error', () => undefined)
    request.end(big)
    const [answer] = (await once(request, 'response')) as [IncomingMessage]
    t.match(answer, { statusCode: 413, headers: { connection: 'close' } })
    t.equal(await text(answer), FAIL)
  }
  t.same(await eventsIn(app), [])
})

t.test('row 25: success does not wait for the merchant, whose backend is away', async (t) => {
  const { app, backend } = await buildV3(t)
  await backend.close()
  answers(t, await notify(app, notice()), 204)
  t.equal((await eventsIn(app)).length, 1)
})

t.test('row 26: 503 within 2 s while Redis is killed, silent, read-only or full; then all is well', async (t) => {
  const redis = await startRedis({ persist: true })
  t.teardown(() => redis.stop())
  const { app } = await buildV3(t, { env: NO_WORKER, redis })
  const troubles = redisTroubles(app, redis)
  answers(t, await notify(app, notice()), 204)
  const unknown = { key: privateKeyOf('platformA'), serial: keys.platformA.serial }
  for (const [name, [begin, end]] of Object.entries(troubles)) {
    const body = envelope(payment())
    const messages = [signed(body), signed(body, unknown)]
    await begin()
    for (const message of messages) {
      const startedAt = performance.now()
      const answer = await notify(app, message)
      answers(t, answer, 503, name)
      t.equal(answer.headers['retry-after'], '1')
      t.ok(performance.now() - startedAt < 2000, name)
    }
    await end()
    for (const message of messages) answers(t, await notify(app, message), 204, `${name} is over`)
  }
  t.equal((await eventsIn(app)).length, 1 + Object.keys(troubles).length)
})

t.test('row 28: other methods are no way in', async (t) => {
  const { app } = await buildV3(t, { env: NO_WORKER })
  for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const)
    t.equal((await notify(app, notice(), { method })).statusCode, 404, method)
  t.same(await keysOf(app), [])
})

t.test('row 30: the unforeseen is 500 and FAIL, with a stack but without the body in the log', async (t) => {
  const { app, logs } = await buildV3(t, { env: NO_WORKER })
  app.paymentCallbacksV3.receive = async (_mchid, { body }) => {
    throw new TypeError(`cannot read ${body}`)
  }
  const message = notice()
  answers(t, await notify(app, message), 500)
  t.match(logs(), /"code":"INTERNAL"/)
  t.match(logs(), 'pay-v3-trouble.test')
  t.notMatch(logs(), 'ciphertext')
})
