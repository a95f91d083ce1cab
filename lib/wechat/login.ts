/** Login: a wx.login code becomes a session, by exactly one call to WeChat for each code, across all instances. */
import { hash } from 'node:crypto'
import { ServiceError } from '../errors.ts'
import { type Meters, observed } from '../metrics/meters.ts'
import type { Keys } from '../redis/keys.ts'
import type { Once } from '../redis/once.ts'
import { decodeSessionKey } from '../sessions/key-history.ts'
import type { Session, SessionId } from '../sessions/model.ts'
import type { SessionStore } from '../sessions/store.ts'
import type { App } from '../settings/model.ts'
import type { Apps } from './apps.ts'
import type { WechatClient } from './client.ts'

export interface LoginRequest {
  code: string
  appid?: string
}

export interface LoginOptions {
  /** The same code soon after gets the same session: double taps, retries after a lost answer. */
  once: Once
  keys: Keys
  sessions: SessionStore
  apps: Apps
  wechat: WechatClient
  meters: Pick<Meters, 'login'>
}

interface Identity {
  openid: string
  unionid: string | undefined
  sessionKey: Buffer
}

export class Logins {
  readonly #options: LoginOptions

  constructor(options: LoginOptions) {
    this.#options = options
  }

  /**
   * Exchanges a code from wx.login (docs/wechat/mini-program.md 1.1). Throws APP_UNKNOWN, CODE_INVALID, CODE_USED,
   * USER_BLOCKED and the WECHAT_* codes; a code that may have reached WeChat is never sent again.
   */
  exchange(request: LoginRequest): Promise<Session> {
    const { meters, apps } = this.#options
    return observed(
      () => this.#exchangeOnce(request),
      (outcome) => meters.login(request.appid ?? apps.only?.appid, outcome)
    )
  }

  async #exchangeOnce({ code, appid }: LoginRequest): Promise<Session> {
    const { once, keys, sessions, apps } = this.#options
    const app = apps.pick(appid)
    return once.run({
      key: keys.loginCode(app.appid, hash('sha256', code, 'base64url')),
      work: () => this.#openSession(app, code),
      write: ({ sid, openid }) => `${sid} ${openid}`,
      read: async (result) => {
        const id = parseResult(app.appid, result)
        return id && sessions.find(id)
      }
    })
  }

  /** Costs two round trips to Redis: one claims the code, one writes the session. */
  async #openSession(app: App, code: string): Promise<Session> {
    const { wechat, sessions } = this.#options
    const identity = await codeToSession(wechat, app, code)
    return sessions.open({ appid: app.appid, ...identity })
  }
}

/** undefined where it is damaged. */
function parseResult(appid: string, result: string): SessionId | undefined {
  const [sid = '', openid = ''] = result.split(' ')
  return ID.test(sid) && ID.test(openid) ? { appid, openid, sid } : undefined
}

/** Of openids and unionids: what may stand in a header, in a key, and in our schemas. */
const ID = /^[\w-]{1,128}$/

async function codeToSession(wechat: WechatClient, { appid, secret }: App, code: string): Promise<Identity> {
  const query = { appid, secret, js_code: code, grant_type: 'authorization_code' }
  const { openid, session_key, unionid } = await wechat.get('login', '/sns/jscode2session', query)
  const sessionKey = typeof session_key === 'string' ? decodeSessionKey(session_key) : undefined
  if (typeof openid !== 'string' || !ID.test(openid) || sessionKey === undefined) {
    throw new ServiceError('WECHAT_BAD_RESPONSE', {
      detail: 'jscode2session answered without a usable openid and session_key'
    })
  }
  return { openid, sessionKey, unionid: typeof unionid === 'string' && ID.test(unionid) ? unionid : undefined }
}
