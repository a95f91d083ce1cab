/** What the tests of /api share: the calls a mini-program makes, and WeChat's side counted or held back. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import type { Call, Sandbox } from '../../../sandbox/index.ts'
import { APPID, type Environment, OTHER_APPID, type World } from '../../helper.ts'
import { listenFor } from '../../listen.ts'

export type Headers = Record<string, string>
export type Answer = LightMyRequestResponse

export const post = (app: FastifyInstance, url: string, payload: object, headers: Headers = {}): Promise<Answer> =>
  app.inject({ method: 'POST', url, payload, headers })

export const get = (app: FastifyInstance, url: string, headers: Headers = {}): Promise<Answer> =>
  app.inject({ method: 'GET', url, headers })

export const login = (app: FastifyInstance, code: string, appid?: string): Promise<Answer> =>
  post(app, '/api/login', { code, ...(appid && { appid }) })

export const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` })

/** Our error form, with `fields` in addition. */
export function refused(t: Test, answer: Answer, status: number, code: string, fields: object = {}): void {
  t.match(answer.json(), { statusCode: status, code, message: /\w/, requestId: /\w/, ...fields }, code)
  t.equal(answer.statusCode, status, `${code} with ${status}`)
  if (status === 429 || status === 503) t.match(answer.headers['retry-after'], /^[1-9]\d*$/, 'says when to come back')
}

export const callsOf = (sandbox: Sandbox, api: Call['api']): Call[] =>
  sandbox.calls().filter((call) => call.api === api)

export const claims = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())

export const codeKey = (app: FastifyInstance, code: string): string =>
  app.keys.loginCode(APPID, createHash('sha256').update(code).digest('base64url'))

/** The session_key that WeChat has for a user, which only a server with the AppSecret may ask for. */
export async function sessionKeyOf({ sandbox, secrets }: World, openid: string): Promise<string> {
  const { code } = sandbox.login({ appid: APPID, openid, keepSessionKey: true })
  const query = { appid: APPID, secret: secrets.appSecret, js_code: code, grant_type: 'authorization_code' }
  const answer = await fetch(`${sandbox.origin}/sns/jscode2session?${new URLSearchParams(query)}`)
  return ((await answer.json()) as { session_key: string }).session_key
}

/** A user with a session and a session_key of the test's choice. */
export async function hold(
  app: FastifyInstance,
  appid: string,
  openid: string,
  sessionKey: string
): Promise<{ headers: Headers }> {
  const session = await app.sessions.store.open({
    appid,
    openid,
    sessionKey: Buffer.from(sessionKey, 'base64')
  })
  return { headers: bearer(app.tokens.answer(session).token) }
}

/** Settings of an instance that knows these apps, by WECHAT_CONFIG_FILE. */
export function severalApps(t: Test, apps: { appid: string; secret: string }[]): Environment {
  const dir = t.testdir({ 'apps.json': JSON.stringify({ apps }) })
  const none = { WECHAT_APPID: undefined, WECHAT_SECRET: undefined }
  const noPay = { WECHAT_PAY_MCHID: undefined, WECHAT_PAY_API_V2_KEY: undefined }
  return { ...none, ...noPay, WECHAT_CONFIG_FILE: `${dir}/apps.json` }
}

/** The same with both apps of the sandbox. */
export const bothApps = (t: Test, { appSecret, otherAppSecret }: World['secrets']): Environment =>
  severalApps(t, [
    { appid: APPID, secret: appSecret },
    { appid: OTHER_APPID, secret: otherAppSecret }
  ])

export const keysOf = ({ app, env }: World): Promise<string[]> => app.redis.keys(`${env.REDIS_PREFIX}:*`)

/** Waits until a condition holds, without a fixed pause. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await setImmediate()
}

export interface HeldWechat {
  origin: string
  /** Resolves when the next request has come. */
  arrived(): Promise<unknown>
  /** Answers every request so far. */
  release(answer: object): void
}

/** A WeChat that answers when the test says so. */
export async function startHeldWechat(t: Test): Promise<HeldWechat> {
  const waiting: ServerResponse[] = []
  const { server, origin } = await listenFor(t, (_request, response) => waiting.push(response))
  return {
    origin,
    arrived: () => once(server, 'request'),
    release: (answer) => {
      for (const response of waiting.splice(0)) response.end(JSON.stringify(answer))
    }
  }
}
