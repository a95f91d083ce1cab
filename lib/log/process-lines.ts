/** Log lines of the process itself: warnings of Node.js and libraries, and errors that nothing caught. */
import { placesOf } from '../errors.ts'

interface Log {
  warn(facts: object, message: string): void
}

const URL_TEXT = /\b[a-z][a-z0-9+.-]*:\/\/\S+/gi

/** Node.js would print them as text to standard error. */
export function logWarnings(log: Log): void {
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message, code }: NodeJS.ErrnoException) => {
    // DEP0170 for one quotes the URL of a connection, with its password.
    log.warn({ cause: name, code, detail: message.replace(URL_TEXT, '(a URL)') }, 'warning of Node.js or a library')
  })
}

/** Whatever was thrown, without its message, which may quote what must not be logged. */
export function crashOf(thrown: unknown): { cause: string; code?: string | undefined; stack?: string[] } {
  if (!(thrown instanceof Error)) return { cause: typeof thrown }
  return { cause: thrown.name, code: (thrown as NodeJS.ErrnoException).code, stack: placesOf(thrown) }
}
