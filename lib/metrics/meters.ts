/**
 * What the service tells about its own work, as plain calls: whoever works does not know how it is counted, or whether.
 */
import { type ErrorCode, ServiceError } from '../errors.ts'
import { isRedisAway } from '../redis/trouble.ts'

/** How something of ours ended: done, or refused with a code of the contract. */
export type Outcome = 'ok' | ErrorCode

export interface Meters {
  /**
   * One request to WeChat, each try by itself. `api`: the last part of its path, `v3-…` for WeChat Pay's APIv3, or
   * `passthrough`; `outcome`: ok, WeChat's own code, or ours.
   */
  upstreamCall(api: string, outcome: string, seconds: number): void
  /** undefined where the app is not known. */
  login(appid: string | undefined, outcome: Outcome): void
  /** undefined where the token does not tell its app. */
  refresh(appid: string | undefined, outcome: Outcome): void
  /** WeChat was asked for an access token. */
  accessTokenRenewal(appid: string, outcome: Outcome): void
  /** Which held session_key opened or verified data: 0 for the newest, -1 where none did. */
  sessionKeyTried(position: number): void
  /** The words are those of lib/callbacks/model.ts. */
  callback(channel: string, verdict: string, reason?: string): void
  /** A session was looked up in Redis, found or not. */
  sessionRead(outcome: Outcome, seconds: number): void
}

/** Runs `work` and tells how it ended and how long it took. Throws what `work` throws. */
export async function observed<T>(
  work: () => Promise<T>,
  told: (outcome: Outcome, seconds: number) => void
): Promise<T> {
  const startedAt = performance.now()
  try {
    const result = await work()
    told('ok', secondsSince(startedAt))
    return result
  } catch (error) {
    told(codeOf(error), secondsSince(startedAt))
    throw error
  }
}

/**
 * As `observed`, for one request to WeChat. `outcomeOf` reads the outcome where it stands in the answer; of one that is
 * still coming it is told later, and the call takes until then.
 */
export async function observedCall<T>(
  meters: Pick<Meters, 'upstreamCall'>,
  api: string,
  send: () => Promise<T>,
  outcomeOf: (answer: T) => string | Promise<string> = () => 'ok'
): Promise<T> {
  const startedAt = performance.now()
  const count = (outcome: string) => meters.upstreamCall(api, outcome, secondsSince(startedAt))
  const countFailure = (error: unknown) => count(wordOf(error))
  try {
    const answer = await send()
    const outcome = outcomeOf(answer)
    if (typeof outcome === 'string') count(outcome)
    else outcome.then(count, countFailure)
    return answer
  } catch (error) {
    countFailure(error)
    throw error
  }
}

const secondsSince = (startedAt: number): number => (performance.now() - startedAt) / 1000

function codeOf(error: unknown): ErrorCode {
  if (error instanceof ServiceError) return error.code
  return isRedisAway(error) ? 'REDIS_UNAVAILABLE' : 'INTERNAL'
}

/** WeChat's own word where it had one. */
function wordOf(error: unknown): string {
  const { errcode, code } = (error instanceof ServiceError && error.wechat) || {}
  return String(errcode ?? code ?? codeOf(error))
}
