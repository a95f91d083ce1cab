/** Small Lua scripts, called by their hash; Redis gets the text of one only where it does not know it yet. */
import { hash } from 'node:crypto'
import type { Redis } from 'ioredis'

export type ScriptArgument = string | number | Buffer

export interface Script {
  numberOfKeys: number
  lua: string
  /** SHA-1 of the text, by which Redis knows it. */
  sha: string
}

export const defineScript = (numberOfKeys: number, lua: string): Script => ({
  numberOfKeys,
  lua,
  sha: hash('sha1', lua)
})

/** Lua for scripts: `callIfType(…)` is redis.call, but answers nil where the key holds something of another type. */
export const CALL_IF_TYPE = `
    local function callIfType(...)
      local answer = redis.pcall(...)
      if type(answer) ~= 'table' or not answer.err then return answer end
      if string.sub(answer.err, 1, 9) ~= 'WRONGTYPE' then error(answer) end
    end
`

/**
 * Runs `script` on `redis`: keys first, then arguments. Text answers come as strings. It does not use `defineCommand`
 * of ioredis: a pipeline that was begun before does not know the script, and ends the process (ioredis 6.0.0).
 */
export async function runScript(
  redis: Redis,
  script: Script,
  keys: string[],
  args: ScriptArgument[]
): Promise<unknown> {
  const { numberOfKeys, lua, sha } = script
  try {
    return await redis.evalsha(sha, numberOfKeys, ...keys, ...args)
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
    return redis.eval(lua, numberOfKeys, ...keys, ...args)
  }
}
