/** Commands of one turn of the event loop leave in one write. */
import type { Redis } from 'ioredis'

type Piece = string | Buffer

/** So much is written at once, without waiting for the end of the turn. */
const MOST_LENGTH = 1024 * 1024

/**
 * Without it each command would be one call of the system here, and one read at Redis. ioredis' auto-pipelining joins
 * them as well, but its bookkeeping for a command takes longer than the command itself; and a corked socket makes an
 * object for each piece.
 */
export function writeTogether(redis: Redis): void {
  redis.on('connect', () => joinWrites(redis.stream))
}

function joinWrites(connection: Redis['stream']): void {
  const write = connection.write.bind(connection) as (piece: Piece) => boolean
  const end = connection.end.bind(connection) as () => typeof connection
  let pieces: Piece[] = []
  let length = 0

  function flush(): void {
    const written = pieces
    pieces = []
    length = 0
    if (written.length > 0 && connection.writable) write(joined(written))
  }

  connection.write = (piece: Piece) => {
    if (pieces.length === 0) setImmediate(flush)
    pieces.push(piece)
    length += piece.length
    if (length > MOST_LENGTH) flush()
    return true
  }
  connection.end = () => {
    flush()
    return end()
  }
}

function joined(pieces: readonly Piece[]): Piece {
  if (pieces.every((piece) => typeof piece === 'string')) return pieces.join('')
  return Buffer.concat(pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)))
}
