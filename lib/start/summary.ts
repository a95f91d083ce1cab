/** What a start says of itself, in one log line: what is on, and with what. Holds no secret. */
import { proxyName } from '../http/proxy.ts'
import type { ServerFacts } from '../redis/server-facts.ts'
import type { Merchant, Settings } from '../settings/model.ts'

/** More would make the line too long to be read. */
const MOST_LISTED = 10

/** `redis` undefined: none answers yet. */
export function summarize(settings: Settings, redis: ServerFacts | undefined, version: string) {
  const { roles, meters, pay, events } = settings
  const { webhook, proxy, durability } = events
  const { perMinute } = settings.rateLimit
  return {
    version,
    node: process.version,
    apps: listed(meters.appids),
    merchants: listed(pay.merchants.map((merchant) => `${merchant.mchid} (${apisOf(merchant)})`)),
    roles: [roles.api && 'api', roles.worker && 'worker'].filter((role) => role !== false),
    doors: doorsOf(settings),
    /** Its host alone, as the rest of the URL may hold a secret. */
    receiver: webhook === undefined ? 'none, events wait' : new URL(webhook.url).host,
    /** Hosts of the proxies for https:// and http:// addresses. */
    proxies: [...new Set([proxy.https, proxy.http].flatMap((url) => (url === undefined ? [] : proxyName(url))))],
    redis: redis === undefined ? 'away' : redisOf(redis),
    durability,
    rateLimit: perMinute === 0 ? 'none' : `${perMinute}/min`
  }
}

const listed = (names: readonly string[]): readonly string[] | number =>
  names.length > MOST_LISTED ? names.length : names

const apisOf = ({ apiV2Key, apiV3Key }: Merchant): string =>
  [apiV2Key && 'v2', apiV3Key && 'v3'].filter(Boolean).join('+')

function doorsOf({ roles, auth, docs }: Settings): string[] {
  const withKeys = auth.internalApiKeys.length > 0
  const api = roles.api ? ['api', 'wechat', ...(withKeys ? ['internal'] : [])] : []
  return [...api, ...(withKeys ? ['metrics'] : []), ...(roles.api && withKeys && docs.enabled ? ['docs'] : [])]
}

/** Such as `Redis 7.0.15, single, appendfsync everysec`. */
function redisOf({ product, version, topology, replicas, persistence }: ServerFacts): string {
  const place = topology === 'primary' ? `primary of ${replicas}` : (topology ?? 'topology unknown')
  return [`${product} ${version ?? '(version unknown)'}`, place, `persistence ${persistence ?? 'unknown'}`].join(', ')
}
