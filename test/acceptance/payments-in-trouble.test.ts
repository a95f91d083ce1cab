/**
 * Ten thousand payment callbacks while instances are killed and Redis crashes. Every payment becomes one event, with
 * one id.
 */
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { Agent, request } from 'undici'
import { startRedis } from '../../tools/redis.ts'
import { MCHID } from '../helper.ts'
import { payment, SUCCESS, signed } from '../routes/wechat/notices.ts'
import { type Instance, startInstance } from './instances.ts'
import { startNeighbours } from './neighbours.ts'

const CALLBACKS = 10_000
const PAYMENTS = 7000
const SENDERS = 48
/** WeChat's own first pauses are 15 s; a test has no time for that. */
const PAUSE_MS = 100
const PATIENCE_MS = 90_000

const dispatcher = new Agent({ connections: SENDERS })
const redis = await startRedis({ persist: true, args: ['--appendfsync', 'always'] })
const { backend, apiV2Key, settings: shared } = await startNeighbours(t)
t.teardown(async () => {
  await dispatcher.destroy()
  await redis.stop()
})
const settings = { ...shared, REDIS_URL: redis.url }

interface Payment {
  id: string
  notice: string
}

function makePayment(number: number): Payment {
  const transactionId = `4200002611230000${String(number).padStart(8, '0')}`
  const fields = payment({ transaction_id: transactionId, out_trade_no: `TROUBLE${number}` })
  return { id: `pay_${MCHID}_${transactionId}`, notice: signed(fields, apiV2Key) }
}

/**
 * Repeats as WeChat does, at whichever instance the balancer chooses, until one answers with success. Returns the
 * number of tries.
 */
async function deliver(notice: string, doors: Instance[], first: number): Promise<number> {
  for (let tries = 1; ; tries++) {
    const door = doors[(first + tries) % doors.length]
    const answer = await request(`${door?.origin}/wechat/pay/v2/${MCHID}/notify`, {
      method: 'POST',
      headers: { 'content-type': 'text/xml' },
      body: notice,
      dispatcher
    }).catch(() => undefined)
    const body = await answer?.body.text().catch(() => undefined)
    if (answer?.statusCode === 200 && body === SUCCESS) return tries
    await pause(PAUSE_MS)
  }
}

t.test('no payment is lost, none is told under two ids', { timeout: 280_000 }, async (t) => {
  const payments = Array.from({ length: PAYMENTS }, (_, index) => makePayment(index))
  const repeated = Array.from({ length: CALLBACKS - PAYMENTS }, (_, index) => payments[index * 2] as Payment)
  const callbacks = [...payments, ...repeated].sort(() => Math.random() - 0.5)
  const doors = await Promise.all([startInstance(t, settings), startInstance(t, settings), startInstance(t, settings)])

  async function replace(index: number): Promise<void> {
    await doors[index]?.stop('SIGKILL')
    doors[index] = await startInstance(t, settings)
  }

  /** What goes wrong, and after how many callbacks. */
  const troubles: [at: number, act: () => Promise<void>][] = [
    [2000, () => replace(0)],
    [
      4500,
      async () => {
        redis.kill()
        await redis.restart()
      }
    ],
    [7000, () => replace(1)]
  ]

  let next = 0
  let tries = 0
  let trouble = Promise.resolve()
  async function send(): Promise<void> {
    for (let index = next++; index < callbacks.length; index = next++) {
      const due = troubles[0]
      if (due !== undefined && index >= due[0]) {
        troubles.shift()
        trouble = trouble.then(due[1])
      }
      const took = await deliver((callbacks[index] as Payment).notice, doors, index)
      tries += took
    }
  }
  await Promise.all(Array.from({ length: SENDERS }, send))
  await trouble
  t.equal(troubles.length, 0, 'two instances were killed, and Redis once')

  const accepted = () => backend.events().filter((event) => event.accepted)
  const giveUpAt = performance.now() + PATIENCE_MS
  while (accepted().length < PAYMENTS && performance.now() < giveUpAt) await pause(200)

  const told = accepted()
  const posts = told.reduce((sum, { attempts }) => sum + attempts, 0)
  t.comment(
    `${callbacks.length} callbacks of ${PAYMENTS} payments, taken after ${tries} tries;`,
    `${told.length} events told in ${posts} posts`
  )
  t.same(told.map(({ id }) => id).sort(), payments.map(({ id }) => id).sort())
  t.ok(tries > CALLBACKS, 'some were refused on the way, and came again')
  t.equal(backend.events().length, PAYMENTS)
})
