/** Small Lua scripts, loaded once per connection and called by hash. */
import type { Redis } from 'ioredis'

export type ScriptArgument = string | number | Buffer

type Call = (...parts: ScriptArgument[]) => Promise<unknown>

export interface Script {
  name: string
  numberOfKeys: number
  lua: string
}

const known = new WeakMap<Redis, Set<string>>()

/** Runs `script` on `redis`: keys first, then arguments. Text answers come as strings. */
export async function runScript(
  redis: Redis,
  script: Script,
  keys: string[],
  args: ScriptArgument[]
): Promise<unknown> {
  const defined = known.get(redis) ?? new Set()
  if (!defined.has(script.name)) {
    redis.defineCommand(script.name, { numberOfKeys: script.numberOfKeys, lua: script.lua })
    known.set(redis, defined.add(script.name))
  }
  const command = Reflect.get(redis, script.name) as Call
  return command.call(redis, ...keys, ...args)
}
