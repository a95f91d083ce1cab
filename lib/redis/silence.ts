/** Closes a connection to Redis that owes an answer for too long. */
import type { Command, Redis } from 'ioredis'

const LOOK_MS = 100
/** Redis answers within microseconds. After so long it will not answer: its host may be gone without a word. */
const SILENCE_MS = 700

/**
 * When a command is unanswered for `silenceMs`, or a tenth of a second longer, the connection is closed, all its
 * commands fail, and ioredis makes a new one. Looks are counted, not milliseconds: a process that stood still for a
 * second finds the answers when it goes on, and a timer would have failed them before they were read.
 */
export function closeWhenSilent(redis: Redis, silenceMs = SILENCE_MS): void {
  const looks = silenceMs / LOOK_MS
  /** The last command that was written at each of the last looks. */
  const written: (Command | undefined)[] = Array(looks)
  let at = 0
  let timer: NodeJS.Timeout | undefined

  function look(): void {
    const oldest = written[at]
    written[at] = redis.commandQueue.peekBack()?.command as Command | undefined
    at = (at + 1) % looks
    if (oldest?.isSettled === false)
      redis.stream.destroy(new Error(`Socket timeout: an answer is due for ${silenceMs} ms`))
  }

  redis.on('connect', () => {
    clearInterval(timer)
    timer = setInterval(look, LOOK_MS).unref()
  })
  redis.on('close', () => clearInterval(timer))
}
