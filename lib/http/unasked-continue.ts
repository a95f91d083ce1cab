/**
 * Skips informational answers (1xx) before the one that counts. Any server may send them (RFC 9110 section 15.2), but
 * undici ends the connection at a 100 that it did not ask for, and it never asks.
 */
import type { Socket } from 'node:net'

const NOTHING = Buffer.alloc(0)
/** The longest head that undici takes. */
const LONGEST_HEAD_BYTES = 16 * 1024
/** 101, too: it may change the protocol only for those who ask, and we never send Upgrade. */
const INFORMATIONAL = /^HTTP\/1\.[01] 1\d\d\b/
const BEGIN_OF_ANY = /^(?:H(?:T(?:T(?:P(?:\/(?:1(?:\.(?:[01](?: (?:1(?:\d\d?)?)?)?)?)?)?)?)?)?)?)?$/
const END_OF_HEAD = /\r?\n\r?\n/

/** The bytes after the informational heads; undefined while more bytes are needed to know. */
function afterInformational(bytes: Buffer): Buffer | undefined {
  let rest = bytes
  for (;;) {
    const text = rest.toString('latin1', 0, LONGEST_HEAD_BYTES)
    if (!INFORMATIONAL.test(text)) return BEGIN_OF_ANY.test(text) ? undefined : rest
    const end = END_OF_HEAD.exec(text)
    if (end === null) return rest.length < LONGEST_HEAD_BYTES ? undefined : rest
    rest = rest.subarray(end.index + end[0].length)
  }
}

/**
 * Changes how a connection of undici's is read: between a request and the head of its answer, informational heads are
 * skipped. undici writes the head of a request as text, a body as bytes, and never two requests at a time.
 */
export function skipInformational<S extends Socket>(socket: S): S {
  const read = socket.read.bind(socket)
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean
  let isAwaiting = false
  let held = NOTHING

  socket.write = (...args: unknown[]) => {
    if (typeof args[0] === 'string') isAwaiting = true
    return write(...args)
  }
  socket.read = (size?: number) => {
    for (;;) {
      const chunk: Buffer | null = read(size)
      if (chunk === null || !isAwaiting) return chunk
      const rest = afterInformational(held.length === 0 ? chunk : Buffer.concat([held, chunk]))
      held = rest === undefined ? Buffer.concat([held, chunk]) : NOTHING
      if (rest === undefined) continue
      isAwaiting = false
      return rest
    }
  }
  return socket
}
