/** What is measured: for each case its requests, and how a right answer looks. */
import { type CallbackLedger, createCallbackCases } from './callbacks.ts'
import { request } from './http.ts'
import type { Answer } from './load.ts'
import type { User } from './users.ts'
import type { World } from './world.ts'

export const CASE_NAMES = [
  'test',
  'login',
  'refresh',
  'session',
  'es256',
  'phone',
  'proxy',
  'passthrough',
  'notify',
  'payV3',
  'push'
] as const
export type CaseName = (typeof CASE_NAMES)[number]

export interface Case {
  title: string
  /** Most CPU time of a request, in that of the floor's; none where it serves a comparison. */
  goal?: number
  /** Who answers it; the gateway where nothing is said. */
  side?: 'es256' | 'proxy'
  /** `count` requests; those that work only once are made anew. */
  prepare(count: number): Promise<Buffer[]>
  /** Of every right answer; 200 where nothing is said. */
  status?: number
  /** In every right answer, and in no other. */
  mark: Buffer
  /** Looks closer, at the first answers. */
  isRight(answer: Answer): boolean
  /** Throws where the answers promised what was not done. */
  proveDone?(): Promise<void>
}

const LOGIN_USERS = 10_000

/** What was made for one who answers the cases: the gateway, or the floor. */
export interface Ready {
  users: User[]
  /** The same users, with tokens of ES256. */
  es256Users: User[]
  /** Of `count` new sessions, each of another user. */
  refreshTokens(count: number): Promise<string[]>
  callbacks: CallbackLedger
}

export function createCases(
  world: World,
  { users, es256Users, refreshTokens, callbacks }: Ready
): Record<CaseName, Case> {
  const session: Case = {
    title: '`GET /api/session`: token (HS256), one look into Redis',
    goal: 1.4,
    prepare: repeated(users.map(({ token }) => request('GET', '/api/session', { token }))),
    mark: Buffer.from('"sessionKeyHeld":true'),
    isRight: hasTexts('appid', 'openid', 'unionid', 'sessionId', 'createdAt', 'expiresAt')
  }
  return {
    test: {
      title: '`GET /api/test`',
      goal: 1.9,
      prepare: repeated([request('GET', '/api/test')]),
      mark: Buffer.from('{"ok":1}'),
      isRight: ({ body }) => body.toString() === '{"ok":1}'
    },
    login: {
      title: '`POST /api/login`: code → session at WeChat, session in Redis, tokens',
      goal: 1.7,
      prepare: (count) => prepareLogins(world, count),
      mark: Buffer.from('"tokenType":"Bearer"'),
      isRight: hasTexts('token', 'refreshToken', 'openid', 'unionid')
    },
    refresh: {
      title: '`POST /api/token/refresh`: the session moved on, tokens',
      prepare: async (count) =>
        (await refreshTokens(count)).map((refreshToken) =>
          request('POST', '/api/token/refresh', { json: { refreshToken } })
        ),
      mark: Buffer.from('"tokenType":"Bearer"'),
      isRight: hasTexts('token', 'refreshToken', 'openid', 'unionid')
    },
    session,
    es256: {
      ...session,
      title: 'the same with tokens of ES256',
      side: 'es256',
      prepare: repeated(es256Users.map(({ token }) => request('GET', '/api/session', { token })))
    },
    phone: {
      title: '`POST /api/phone`: token, Redis, decrypted here',
      goal: 1.4,
      prepare: repeated(users.map(({ token, phone }) => request('POST', '/api/phone', { token, json: phone }))),
      mark: Buffer.from('"purePhoneNumber":"13000000000"'),
      isRight: hasTexts('phoneNumber', 'purePhoneNumber', 'countryCode')
    },
    proxy: {
      ...toWechat(`/wxa/msg_sec_check?access_token=${world.accessToken}`),
      title: 'a bare proxy: Fastify and undici, 600 bytes of JSON to WeChat and its answer back',
      side: 'proxy'
    },
    passthrough: {
      ...toWechat(`/internal/apps/${world.payee.appid}/wechat/wxa/msg_sec_check`, world.apiKey),
      title: '`POST /internal/apps/{appid}/wechat/…`: the same by the gateway, with its access token',
      goal: 1.5
    },
    ...createCallbackCases(world, callbacks)
  }
}

const CHECKED = { openid: 'oBenchUser000000000000000000', scene: 1, version: 2, content: '茶'.repeat(180) }

function toWechat(path: string, token?: string): Omit<Case, 'title'> {
  return {
    prepare: repeated([request('POST', path, { json: CHECKED, ...(token && { token }) })]),
    mark: Buffer.from('"errcode":0'),
    isRight: ({ status }) => status === 200
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

function hasTexts(...names: string[]): Case['isRight'] {
  return ({ status, body }) => {
    const fields = JSON.parse(body.toString()) as Record<string, unknown>
    return status === 200 && names.every((name) => typeof fields[name] === 'string' && fields[name] !== '')
  }
}
