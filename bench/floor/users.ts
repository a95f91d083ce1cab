/** What the mini-program asks of the floor. */
import { createDecipheriv } from 'node:crypto'
import type { Pool } from 'undici'
import { answerJson, type FloorExchange } from './answer.ts'
import { FLOOR_REFRESH_TTL, type FloorSessions } from './sessions.ts'
import { FLOOR_TOKEN_TTL_SECONDS, type FloorClaims, type FloorTokens } from './tokens.ts'

export interface FloorUsersOptions {
  appid: string
  appSecret: string
  upstream: Pool
  tokens: FloorTokens
  sessions: FloorSessions
}

/** As jscode2session answers. */
interface FloorLogin {
  openid: string
  unionid: string
  session_key: string
}

export class FloorUsers {
  readonly #options: FloorUsersOptions
  readonly #loginPath: string

  constructor(options: FloorUsersOptions) {
    this.#options = options
    const { appid, appSecret } = options
    this.#loginPath = `/sns/jscode2session?appid=${appid}&secret=${appSecret}&grant_type=authorization_code&js_code=`
  }

  async logIn({ response, body }: FloorExchange): Promise<void> {
    const { upstream, sessions } = this.#options
    const { code } = JSON.parse(body.toString())
    const answer = await upstream.request({ method: 'GET', path: this.#loginPath + code })
    const { openid, unionid, session_key } = (await answer.body.json()) as FloorLogin
    const { sid, refreshToken } = await sessions.open(openid, unionid, Buffer.from(session_key, 'base64'))
    answerJson(response, this.#tokensFor({ openid, unionid, sid, refreshToken }))
  }

  async refresh({ response, body }: FloorExchange): Promise<void> {
    const { sid, session, refreshToken } = await this.#options.sessions.renew(JSON.parse(body.toString()).refreshToken)
    const { openid, unionid } = session
    answerJson(response, this.#tokensFor({ openid, unionid, sid, refreshToken }))
  }

  async show(exchange: FloorExchange): Promise<void> {
    const { sid } = this.#claimsOf(exchange)
    const { openid, unionid, createdAt, expiresAt, keyEndsAt } = await this.#options.sessions.find(sid)
    answerJson(exchange.response, {
      appid: this.#options.appid,
      openid,
      unionid,
      sessionId: sid,
      createdAt: new Date(createdAt * 1000).toISOString(),
      expiresAt: new Date(expiresAt * 1000).toISOString(),
      sessionKeyHeld: keyEndsAt * 1000 > Date.now()
    })
  }

  async phone(exchange: FloorExchange): Promise<void> {
    const { encryptedData, iv } = JSON.parse(exchange.body.toString())
    const key = await this.#options.sessions.sessionKey(this.#claimsOf(exchange).sid)
    const decipher = createDecipheriv('aes-128-cbc', key, Buffer.from(iv, 'base64'))
    const text = decipher.update(encryptedData, 'base64', 'utf8') + decipher.final('utf8')
    const { phoneNumber, purePhoneNumber, countryCode } = JSON.parse(text)
    answerJson(exchange.response, { phoneNumber, purePhoneNumber, countryCode })
  }

  #claimsOf({ request }: FloorExchange): FloorClaims {
    return this.#options.tokens.read(request.headers.authorization?.slice('Bearer '.length) ?? '')
  }

  #tokensFor({ openid, unionid, sid, refreshToken }: Record<'openid' | 'unionid' | 'sid' | 'refreshToken', string>) {
    const { appid, tokens } = this.#options
    return {
      token: tokens.issue({ aud: appid, sub: openid, sid, unionid }),
      tokenType: 'Bearer',
      expiresIn: FLOOR_TOKEN_TTL_SECONDS,
      refreshToken,
      refreshExpiresIn: FLOOR_REFRESH_TTL,
      openid,
      unionid
    }
  }
}
