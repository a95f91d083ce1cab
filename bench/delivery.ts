/**
 * `node bench/delivery.ts`: how many events a second one worker delivers to a fast receiver, and what one event costs
 * the worker and Redis. `--against DIR`: another checkout takes turns with this one. `--profile`: where the time goes.
 */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Event, QUEUE_NAME, type QueuedEvent } from '../lib/events/model.ts'
import { EventRecorder } from '../lib/events/recorder.ts'
import { connectPatient, settled } from '../lib/redis/connect.ts'
import { redisKeys } from '../lib/redis/keys.ts'
import { LazyQueue } from '../lib/redis/queue.ts'
import { onExit } from '../tools/child.ts'
import { startRedis } from '../tools/redis.ts'
import { chooseCores, moveTo } from './pin.ts'
import { type MeasuredServer, ROOT, startHelper, startServer } from './processes.ts'
import { type CpuProfile, summarise } from './profile.ts'
import { ask } from './rpc.ts'

const AT_ONCE = 1000
const LOOK_MS = 5
const PREFIX = 'wxgate'

interface Round {
  perSecond: number
  /** CPU time for one event. */
  workerMicroseconds: number
  redisMicroseconds: number
}

interface Side {
  name: string
  worker: MeasuredServer
  /** Records `count` events while nobody delivers, then has them delivered. */
  run(count: number): Promise<Round>
}

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '20000' },
    rounds: { type: 'string', default: '5' },
    against: { type: 'string' },
    profile: { type: 'boolean', default: false }
  }
})
const cores = chooseCores()
if (cores !== undefined) moveTo(cores.rest)
const folder = mkdtempSync(join(tmpdir(), 'wxgate-bench-'))
onExit(() => rmSync(folder, { recursive: true, force: true }))

const roots = [ROOT, ...(values.against === undefined ? [] : [resolve(values.against)])]
const sides: Side[] = []
for (const root of roots) sides.push(await startSide(root))
const count = Number(values.events)
for (const { run } of sides) await run(count)
if (values.profile) process.stdout.write(`${await profile(sides[0] as Side)}\n`)
else
  for (let round = 0; round < Number(values.rounds); round++)
    for (const side of sides) show(side, await side.run(count))
process.exit()

function show({ name }: Side, { perSecond, workerMicroseconds, redisMicroseconds }: Round): void {
  const costs = `worker ${workerMicroseconds.toFixed(1)} µs, Redis ${redisMicroseconds.toFixed(1)} µs an event`
  process.stdout.write(`${name}: ${Math.round(perSecond)} events/s, ${costs}\n`)
}

async function profile({ worker, run }: Side): Promise<string> {
  await worker.startProfile()
  const { workerMicroseconds } = await run(count)
  const file = join(folder, 'run.cpuprofile')
  await worker.stopProfile(file)
  return summarise(JSON.parse(readFileSync(file, 'utf8')) as CpuProfile, workerMicroseconds)
}

async function startSide(root: string): Promise<Side> {
  const redis = await startRedis()
  const receiver = startHelper(join(import.meta.dirname, 'receiver.ts'))
  const webhookUrl = await ask<string>(receiver, 'start')
  const worker = await startServer({
    args: ['--expose-gc', join(root, 'start.js')],
    env: workerEnvironment(redis.url, webhookUrl),
    readyPath: '/readyz',
    core: cores?.server,
    folder
  })
  const connection = connectPatient(redis.url, () => undefined)
  await settled(connection, 5000)
  const prefix = redisKeys(PREFIX).eventQueue
  const lazy = new LazyQueue<QueuedEvent>(connection, prefix, QUEUE_NAME)
  const recorder = new EventRecorder({ redis: connection, prefix, queue: lazy, durability: undefined })
  const queue = await lazy.open()

  async function redisMicroseconds(): Promise<number> {
    const times = [...(await connection.info('cpu')).matchAll(/used_cpu_(?:sys|user):([\d.]+)/g)]
    return times.reduce((sum, [, seconds]) => sum + Number(seconds) * 1e6, 0)
  }

  return {
    name: root,
    worker,
    async run(count) {
      await queue.pause()
      for (let left = count; left > 0; left -= AT_ONCE)
        await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, () => recorder.record(makeEvent())))
      const postsBefore = await ask<number>(receiver, 'posts')
      const before = { worker: await worker.cpuMicroseconds(), redis: await redisMicroseconds() }
      const startedAt = performance.now()
      await queue.resume()
      while ((await ask<number>(receiver, 'posts')) < postsBefore + count) await sleep(LOOK_MS)
      const seconds = (performance.now() - startedAt) / 1000
      while ((await queue.getActiveCount()) > 0) await sleep(LOOK_MS)
      return {
        perSecond: count / seconds,
        workerMicroseconds: ((await worker.cpuMicroseconds()) - before.worker) / count,
        redisMicroseconds: ((await redisMicroseconds()) - before.redis) / count
      }
    }
  }
}

function workerEnvironment(redisUrl: string, webhookUrl: string): Record<string, string> {
  return {
    PUBLIC_URL: 'https://wx.example.test',
    REDIS_URL: redisUrl,
    REDIS_PREFIX: PREFIX,
    ROLES: 'worker',
    RECONCILE: 'off',
    ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    JWT_SECRET: randomBytes(32).toString('hex'),
    WECHAT_APPID: 'wx0123456789abcdef',
    WECHAT_SECRET: randomBytes(16).toString('hex'),
    WEBHOOK_URL: webhookUrl,
    WEBHOOK_SECRET: `whsec_${randomBytes(32).toString('base64')}`
  }
}

/** As long as that of a payment. */
function makeEvent(): Event {
  const number = randomBytes(12).toString('hex')
  const raw = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`field_${index}`, number]))
  const data = { api: 'v2', mchid: '1900000109', outTradeNo: number, openid: number, amount: { total: 1 }, raw }
  const id = `pay_1900000109_${number}`
  return { id, type: 'payment.succeeded', timestamp: new Date().toISOString(), data, content: id }
}
