import type { Redis } from 'ioredis'

/** How often this Redis read from a connection so far. */
export async function readsOf(redis: Redis): Promise<number> {
  return Number(/total_reads_processed:(\d+)/.exec(await redis.info('stats'))?.[1])
}
