/** What is measured: for each case its requests, and how a right answer looks. */
import { QUEUE_NAME } from '../lib/events/queue.ts'
import { createOrders } from '../lib/pay/orders.ts'
import { connectPatient, settled } from '../lib/redis/connect.ts'
import { redisKeys } from '../lib/redis/keys.ts'
import { request } from './http.ts'
import type { Answer } from './load.ts'
import { writeNotice } from './notices.ts'
import type { User } from './users.ts'
import { REDIS_PREFIX, type World } from './world.ts'

export const CASE_NAMES = ['test', 'login', 'session', 'phone', 'notify'] as const
export type CaseName = (typeof CASE_NAMES)[number]

export interface Case {
  title: string
  /** Most CPU time of a request, in that of a bare one. */
  target: number
  /** `count` requests; those that work only once are made anew. */
  prepare(count: number): Promise<Buffer[]>
  /** In every right answer, and in no other. */
  mark: Buffer
  /** Looks closer, at the first answers. */
  isRight(answer: Answer): boolean
  /** Throws where the answers promised what was not done. */
  proveDone?(): Promise<void>
}

const LOGIN_USERS = 10_000

export function createCases(world: World, users: User[]): Record<CaseName, Case> {
  return {
    test: {
      title: '`GET /api/test`',
      target: 1.5,
      prepare: repeated([request('GET', '/api/test')]),
      mark: Buffer.from('{"ok":1}'),
      isRight: ({ body }) => body.toString() === '{"ok":1}'
    },
    login: {
      title: '`POST /api/login`: code → session at WeChat, session in Redis, tokens',
      target: 7.5,
      prepare: (count) => prepareLogins(world, count),
      mark: Buffer.from('"tokenType":"Bearer"'),
      isRight: hasTexts('token', 'refreshToken', 'openid', 'unionid')
    },
    session: {
      title: '`GET /api/session`: token, one look into Redis',
      target: 3.5,
      prepare: repeated(users.map(({ token }) => request('GET', '/api/session', { token }))),
      mark: Buffer.from('"sessionKeyHeld":true'),
      isRight: hasTexts('appid', 'openid', 'unionid', 'sessionId', 'createdAt', 'expiresAt')
    },
    phone: {
      title: '`POST /api/phone`: token, Redis, decrypted here',
      target: 4.5,
      prepare: repeated(users.map(({ token, phone }) => request('POST', '/api/phone', { token, json: phone }))),
      mark: Buffer.from('"purePhoneNumber":"13000000000"'),
      isRight: hasTexts('phoneNumber', 'purePhoneNumber', 'countryCode')
    },
    notify: createNotifyCase(world)
  }
}

/** The same requests in turn, going on where the last burst ended. */
function repeated(requests: Buffer[]): Case['prepare'] {
  let next = 0
  return async (count) => Array.from({ length: count }, () => requests[next++ % requests.length] ?? Buffer.alloc(0))
}

let logins = 0

/** Users come back, as they do: each login is one of the same ten thousand. */
async function prepareLogins({ wechat }: World, count: number): Promise<Buffer[]> {
  const openids = Array.from({ length: count }, () => `oBenchLogin${String(logins++ % LOGIN_USERS).padStart(17, '0')}`)
  const codes = await wechat.codes(openids)
  return codes.map((code) => request('POST', '/api/login', { json: { code } }))
}

/** Orders were made through the gateway, as merchants are told to: it knows them, and compares. */
function createNotifyCase({ redis, payee }: World): Case {
  const connection = connectPatient(redis.url, () => {
    // A Redis that is away shows in the answers.
  })
  const keys = redisKeys(REDIS_PREFIX)
  const orders = createOrders(connection, keys)
  const { appid, mchid } = payee
  const common = { api: 'v2' as const, appid, mchid, currency: 'CNY', description: 'bench' }
  let made = 0

  async function payOne(): Promise<Buffer> {
    const number = ++made
    const order = {
      outTradeNo: `BENCH${String(number).padStart(12, '0')}`,
      openid: `oBenchPayer${String(number).padStart(17, '0')}`,
      totalFen: 1000 + (number % 90_000)
    }
    await orders.remember({ ...common, ...order, createdAt: Math.floor(Date.now() / 1000) })
    return request('POST', `/wechat/pay/v2/${mchid}/notify`, { xml: writeNotice(payee, order) })
  }

  return {
    title: '`POST /wechat/pay/v2/{mchid}/notify`: 25 fields, verified, compared with the order, recorded once',
    target: 14,
    async prepare(count) {
      await settled(connection, 5000)
      return Promise.all(Array.from({ length: count }, payOne))
    },
    mark: Buffer.from('<return_code><![CDATA[SUCCESS]]></return_code>'),
    isRight: ({ status }) => status === 200,
    async proveDone() {
      const recorded = await connection.llen(`${keys.eventQueue}:${QUEUE_NAME}:wait`)
      if (recorded !== made) throw new Error(`${made} payments were notified, ${recorded} events recorded`)
    }
  }
}

function hasTexts(...names: string[]): Case['isRight'] {
  return ({ status, body }) => {
    const fields = JSON.parse(body.toString()) as Record<string, unknown>
    return status === 200 && names.every((name) => typeof fields[name] === 'string' && fields[name] !== '')
  }
}
