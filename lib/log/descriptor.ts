/** Standard output and error as descriptors whose reader, when it stops reading, does not stop this process. */
import { constants, fstatSync, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { isatty } from 'node:tty'

/**
 * Answers a descriptor of what `fd` (1 or 2) leads to, on which a write fails with EAGAIN instead of waiting. A pipe or
 * socket is switched over in place: Node.js does so for every one that it opens, and undoes it for 1 and 2 at exit. A
 * terminal, where a write waits after Ctrl-S, is opened anew, since the shell shares it. Files stay as they are, and so
 * does whatever cannot be switched.
 */
export function neverBlocking(fd: number): number {
  try {
    const kind = fstatSync(fd)
    if (kind.isFIFO() || kind.isSocket()) new Socket({ fd, readable: false, writable: true })
    if (isatty(fd)) return openSync(`/dev/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    // Then it may block, as it would for any program.
  }
  return fd
}
