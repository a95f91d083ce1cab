/** Where log lines go: some at a time, never waiting for a reader; dropped and counted while nothing can be written. */
import { constants, fstatSync, openSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { isatty } from 'node:tty'

/** Each write costs a third of what a small request does. */
const BATCH_CHARACTERS = 4096
const BATCH_MS = 100

/** What is kept while nothing can be written. Lines beyond it are dropped. */
const MOST_HELD_CHARACTERS = 1024 * 1024

const RETRY_AT_END_MS = 10
const NOTHING = Buffer.alloc(0)

export interface LogOutputOptions {
  /** One that does not block, see `neverBlocking`. */
  fd: number
  /** Called once when lines cannot be written, with the system's code, such as ENOSPC; EAGAIN: nobody reads. */
  onTrouble(cause: string): void
  /** Called when all that was kept is written after all. `dropped` lines are missing behind it. */
  onRecovered(dropped: number, cause: string): void
}

/** A destination for pino. Never throws, never waits (but in `end`), and holds at most some 4 MB. */
export class LogOutput {
  readonly #options: LogOutputOptions
  readonly #timer: NodeJS.Timeout
  #held = ''
  /** The rest of a write that took only a part, so that no line is broken in its middle. */
  #begun: Buffer = NOTHING
  /** Why the last write failed. Only the timer tries again then, so that a line costs no failing call. */
  #failure: string | undefined
  /** Why lines are lost, once it was reported. */
  #trouble: string | undefined
  #dropped = 0

  constructor(options: LogOutputOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.flushSync(), BATCH_MS).unref()
  }

  write(line: string): void {
    if (this.#held !== '' && this.#held.length + line.length > MOST_HELD_CHARACTERS) {
      this.#dropped++
      this.#report()
      return
    }
    this.#held += line
    if (this.#failure === undefined && this.#held.length >= BATCH_CHARACTERS) this.flushSync()
  }

  /** Writes what can be written now. pino calls it after a fatal line. */
  flushSync(): void {
    try {
      while (this.#begun.length > 0 || this.#held !== '') this.#writeSome()
      this.#failure = undefined
    } catch (error) {
      this.#failure = (error as NodeJS.ErrnoException).code ?? 'unknown'
      // A slow reader is no trouble before lines are lost.
      if (this.#failure !== 'EAGAIN') this.#report()
      return
    }
    if (this.#trouble !== undefined) this.#recover(this.#trouble)
  }

  /** The last call: blocks up to `patienceMs` for a reader that is slow, and gives up at once where writing fails. */
  end(patienceMs: number): void {
    clearInterval(this.#timer)
    const giveUpAt = performance.now() + patienceMs
    this.flushSync()
    while (this.#failure === 'EAGAIN' && performance.now() < giveUpAt) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_AT_END_MS)
      this.flushSync()
    }
  }

  #writeSome(): void {
    if (this.#begun.length > 0) {
      this.#begun = this.#begun.subarray(writeSync(this.#options.fd, this.#begun))
      return
    }
    const text = this.#held
    const written = writeSync(this.#options.fd, text)
    this.#held = ''
    if (written < Buffer.byteLength(text)) this.#begun = Buffer.from(text).subarray(written)
  }

  #report(): void {
    if (this.#trouble !== undefined) return
    this.#trouble = this.#failure ?? 'EAGAIN'
    this.#options.onTrouble(this.#trouble)
  }

  #recover(cause: string): void {
    const dropped = this.#dropped
    this.#trouble = undefined
    this.#dropped = 0
    this.#options.onRecovered(dropped, cause)
    // The line about it too: this may be the last call of all.
    this.flushSync()
  }
}

/**
 * A descriptor for what `fd` (1 or 2) leads to, on which a write fails with EAGAIN instead of waiting: a reader that
 * stops does not stop this process. A pipe or socket is switched in place: Node.js does so for every one that it opens,
 * and undoes it for 1 and 2 at exit. A terminal, where a write waits after Ctrl-S, is opened anew, since the shell
 * shares it. Files stay as they are, and so does everything that cannot be switched.
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
