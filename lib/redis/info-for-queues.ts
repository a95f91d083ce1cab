/**
 * INFO as BullMQ needs it. BullMQ asks for the version at each start. Where it may not, it gives up for good and ends
 * in a busy loop. It also writes plain lines about the eviction policy and old versions, which wxgate logs itself.
 */
import type { Redis } from 'ioredis'

/** The oldest supported version. A Redis that does not tell its version counts as this one. */
const OLDEST = 'redis_version:7.0.0'

/** Asked without a section it answers in any case, but where the connection is closed for good. */
export function infoForQueues(redis: Redis): Redis['info'] {
  const info = redis.info.bind(redis) as (...sections: string[]) => Promise<string>
  const answer = async (...sections: string[]) => {
    if (sections.length > 0) return info(...sections)
    return readable(await info().catch(() => ''))
  }
  return answer as Redis['info']
}

function readable(text: string): string {
  const lines = text.split(/\r?\n/).filter((line) => !line.startsWith('maxmemory_policy:'))
  const isKnown = lines.some((line) => /^redis_version:([7-9]|[1-9]\d+)\./.test(line))
  const kept = isKnown ? lines : [...lines.filter((line) => !line.startsWith('redis_version:')), OLDEST]
  return kept.join('\r\n')
}
