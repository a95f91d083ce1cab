/** Compares every event that waits in Redis with every callback that was sent. */
import { QUEUE_NAME, type QueuedEvent } from '../lib/events/model.ts'
import { EventRecorder } from '../lib/events/recorder.ts'
import { Orders } from '../lib/pay/records.ts'
import { connectPatient, settled } from '../lib/redis/connect.ts'
import { eventKeys, redisKeys } from '../lib/redis/keys.ts'
import { LazyQueue } from '../lib/redis/queue.ts'
import type { CallbackLedger } from './callbacks.ts'
import { REDIS_PREFIX, type World } from './world.ts'

const AT_ONCE = 1000

export interface Recorded extends CallbackLedger {
  /** Records `count` more events, as the gateway does. */
  fill(count: number): Promise<void>
  /** Takes away all that wait, as if delivered: that they were there stays known, as it does then. */
  clear(): Promise<void>
  close(): Promise<void>
}

export async function connectRecorded({ redis, payee: { mchid } }: World): Promise<Recorded> {
  const connection = connectPatient(redis.url, () => {
    // A Redis that is away shows in the answers.
  })
  await settled(connection, 5000)
  const names = redisKeys(REDIS_PREFIX)
  const keys = eventKeys(names.eventQueue, QUEUE_NAME)
  const [waiting, patient] = [keys.job('wait'), keys.job('prioritized')]
  const prefix = names.eventQueue
  const queue = new LazyQueue<QueuedEvent>(connection, prefix, QUEUE_NAME)
  const recorder = new EventRecorder({ redis: connection, prefix, queue, durability: undefined })
  let expected = new Set<string>()
  let filled = 0

  async function fillOne(): Promise<void> {
    const number = String(++filled).padStart(24, '0')
    const id = `pay_${mchid}_FILL${number}`
    const data = { mchid, outTradeNo: `FILL${number}`, openid: `oBenchPayer${number.slice(-17)}`, api: 'v2' }
    await recorder.record({ id, type: 'payment.succeeded', timestamp: new Date().toISOString(), data, content: id })
    expected.add(id)
  }

  /** Wherever the queue keeps what waits. */
  async function allWaiting(): Promise<string[]> {
    const both = await Promise.all([
      connection.lrange(waiting, 0, -1),
      connection.zrange(patient, '-inf', '+inf', 'BYSCORE')
    ])
    return both.flat()
  }

  return {
    orders: new Orders(connection, names),
    expect: (id) => void expected.add(id),
    async prove() {
      const jobIds = await allWaiting()
      const ids = new Set(jobIds.map((jobId) => jobId.split('.')[0] ?? ''))
      const missing = [...expected].filter((id) => !ids.has(id)).length
      if (missing > 0 || jobIds.length !== expected.size)
        throw new Error(`of ${expected.size} events ${missing} are missing, and ${jobIds.length} are recorded`)
    },
    async fill(count) {
      for (let left = count; left > 0; left -= AT_ONCE)
        await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, fillOne))
    },
    async clear() {
      const jobIds = await allWaiting()
      for (let at = 0; at < jobIds.length; at += AT_ONCE)
        await connection.unlink(jobIds.slice(at, at + AT_ONCE).map(keys.job))
      await connection.unlink(waiting, patient, keys.pending)
      expected = new Set()
    },
    async close() {
      await queue.close()
      connection.disconnect()
    }
  }
}
