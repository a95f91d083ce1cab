/** Commands of one turn of the event loop leave in one write. */
import type { Redis } from 'ioredis'

/**
 * Without it each command would be one call of the system here, and one read at Redis. ioredis' auto-pipelining joins
 * them as well, but its bookkeeping for a command takes longer than the command itself.
 */
export function writeTogether(redis: Redis): void {
  const send = redis.sendCommand.bind(redis)
  let isCorked = false

  redis.sendCommand = (command, stream) => {
    if (!isCorked && redis.status === 'ready') cork(redis.stream)
    return send(command, stream)
  }

  function cork(connection: Redis['stream']): void {
    isCorked = true
    connection.cork()
    setImmediate(() => {
      isCorked = false
      connection.uncork()
    })
  }
}
