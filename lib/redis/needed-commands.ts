/** The commands that wxgate and BullMQ need, and which of them the user of a connection may not run. */
import type { Redis } from 'ioredis'
import { defineScript, runScript } from './script.ts'

/** Of scripts and without; a test compares them with the scripts. */
export const NEEDED_COMMANDS = `
  BZPOPMIN DEL EVAL EVALSHA EXISTS EXPIRE EXPIREAT GET INCR PERSIST PEXPIRE PING PTTL RENAME SET HDEL HEXISTS HGET
  HGETALL HINCRBY HKEYS HMGET HMSET HSET HSETNX LINDEX LLEN LPOP LPOS LPUSH LRANGE LREM LTRIM RPOP RPOPLPUSH RPUSH
  SADD SCARD SMEMBERS SREM XADD XREVRANGE XTRIM ZADD ZCARD ZCOUNT ZPOPMIN ZRANGE ZRANGEBYSCORE ZREM ZREMRANGEBYRANK
  ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE ZSCAN ZSCORE
`
  .trim()
  .split(/\s+/)

/**
 * KEYS any key of ours · ARGV names of commands · RETURN those that may not be run. The key stands for all arguments,
 * and nothing is run. What is like Redis may not have the function; then nothing is known.
 */
const LACKING = defineScript(
  1,
  `local lacking = {}
if not redis.acl_check_cmd then return lacking end
for _, name in ipairs(ARGV) do
  local isKnown, isAllowed = pcall(redis.acl_check_cmd, name, KEYS[1], KEYS[1], KEYS[1])
  if isKnown and not isAllowed then lacking[#lacking + 1] = name end
end
return lacking`
)

export const lackingCommands = (redis: Redis, key: string): Promise<string[]> =>
  runScript(redis, LACKING, [key], NEEDED_COMMANDS) as Promise<string[]>
