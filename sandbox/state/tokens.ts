/** The access tokens of stable_token: one current token per app, its predecessor, and what makes a token die. */
import { Refusal } from '../wire/errcodes.ts'
import { makeAccessToken } from '../wire/random.ts'
import { beijingDay } from '../wire/time.ts'

const LIFE_MS = 7200 * 1000
const RENEWAL_MS = 300 * 1000
const FORCE_PAUSE_MS = 30 * 1000
const FORCES_A_DAY = 20

interface Token {
  readonly value: string
  readonly appid: string
  readonly expiresAt: number
  /** Set when something killed it before its time: the errcode that calls with it get. */
  deadWith?: number
  /** Normal mode goes on handing it out although it is dead. */
  sticky?: boolean
}

interface Account {
  current?: Token
  forcedAt: number
  forcedOn: string
  forces: number
}

export interface TokenAnswer {
  access_token: string
  expires_in: number
}

export class Tokens {
  readonly #tokens = new Map<string, Token>()
  readonly #accounts = new Map<string, Account>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * Normal mode: the same token while more than 5 minutes are left. Then a new one, and both work until the old one
   * ends.
   */
  ask(appid: string): TokenAnswer {
    const { current } = this.#account(appid)
    const keeps = current !== undefined && (current.deadWith === undefined || current.sticky === true)
    return this.#answer(keeps && current.expiresAt - this.#now() > RENEWAL_MS ? current : this.#renew(appid))
  }

  /**
   * force_refresh: the old token ends at once. Within 30 s of the last time nothing happens. The 21st of a day is
   * refused with 45009.
   */
  force(appid: string): TokenAnswer {
    const account = this.#account(appid)
    const now = this.#now()
    if (now - account.forcedAt < FORCE_PAUSE_MS) return this.ask(appid)
    const today = beijingDay(now)
    if (account.forcedOn !== today) Object.assign(account, { forcedOn: today, forces: 0 })
    if (account.forces >= FORCES_A_DAY) throw new Refusal(45009)
    account.forces += 1
    account.forcedAt = now
    for (const token of this.#tokens.values()) {
      if (token.appid === appid) token.deadWith ??= 40001
    }
    return this.#answer(this.#renew(appid))
  }

  /** The app a token belongs to, or a Refusal: missing, unknown or replaced, expired. */
  appidOf(value: string | undefined): string {
    if (value === undefined || value === '') throw new Refusal(41001)
    const token = this.#tokens.get(value)
    if (token === undefined) throw new Refusal(40001)
    if (token.deadWith !== undefined) throw new Refusal(token.deadWith)
    if (this.#now() >= token.expiresAt) throw new Refusal(42001)
    return token.appid
  }

  /** Whose token it is or was; for the list of calls. */
  ownerOf(value: string | undefined): string | undefined {
    return value === undefined ? undefined : this.#tokens.get(value)?.appid
  }

  /** Kills the current token. False where there is none. */
  expire(appid: string, errcode: number, sticky: boolean): boolean {
    const { current } = this.#account(appid)
    if (current === undefined) return false
    current.deadWith = errcode
    current.sticky = sticky
    return true
  }

  #account(appid: string): Account {
    const known = this.#accounts.get(appid)
    if (known !== undefined) return known
    const account = { forcedAt: Number.NEGATIVE_INFINITY, forcedOn: '', forces: 0 }
    this.#accounts.set(appid, account)
    return account
  }

  #renew(appid: string): Token {
    const token = { value: makeAccessToken(), appid, expiresAt: this.#now() + LIFE_MS }
    this.#tokens.set(token.value, token)
    this.#account(appid).current = token
    return token
  }

  #answer(token: Token): TokenAnswer {
    return { access_token: token.value, expires_in: Math.floor((token.expiresAt - this.#now()) / 1000) }
  }
}
