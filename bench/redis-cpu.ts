/** What Redis tells of the CPU time that it has used. */
import type { Redis } from 'ioredis'

/** User and system time of all its threads since its start. */
export async function redisMicroseconds(redis: Redis): Promise<number> {
  const info = await redis.info('cpu')
  const times = [...info.matchAll(/used_cpu_(?:sys|user):([\d.]+)/g)]
  return times.reduce((sum, [, seconds]) => sum + Number(seconds) * 1e6, 0)
}
