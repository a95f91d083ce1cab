/** The users of each app, with the one session_key that is valid for each. */
import { makeOpenid, makeSessionKey, unionidOf } from '../wire/random.ts'

export interface User {
  readonly appid: string
  readonly openid: string
  readonly unionid: string
  /** undefined: it has vanished. */
  sessionKey: string | undefined
  /** Said no to wx.requestSubscribeMessage. */
  refusesMessages?: boolean
}

export class Users {
  readonly #users = new Map<string, User>()
  readonly #appids = new Map<string, Set<string>>()

  find(appid: string, openid: string): User | undefined {
    return this.#users.get(`${appid} ${openid}`)
  }

  /** The openid was given out by another app, and not by this one: openids are per app. */
  belongsElsewhere(appid: string, openid: string): boolean {
    const appids = this.#appids.get(openid)
    return appids !== undefined && !appids.has(appid)
  }

  /**
   * The user runs wx.login. A new user is added. A known one gets a new session_key, unless `keepSessionKey` is set and
   * there is a key.
   */
  login(appid: string, openid = makeOpenid(), keepSessionKey = false): User {
    const known = this.find(appid, openid)
    if (known === undefined) return this.#add(appid, openid)
    if (!keepSessionKey || known.sessionKey === undefined) this.renewSessionKey(known)
    return known
  }

  /** The key before is dead at once. */
  renewSessionKey(user: User): string {
    user.sessionKey = makeSessionKey()
    return user.sessionKey
  }

  #add(appid: string, openid: string): User {
    const user = { appid, openid, unionid: unionidOf(openid), sessionKey: makeSessionKey() }
    this.#users.set(`${appid} ${openid}`, user)
    this.#appids.set(openid, (this.#appids.get(openid) ?? new Set()).add(appid))
    return user
  }
}
