/** What the merchant's stand-in has received, who waits for events, and how it answers. */
import { EventEmitter } from 'node:events'

export interface BackendEvent {
  /** webhook-id: the same at every try. */
  id: string
  type: string
  data: Record<string, unknown>
  /** The event's own time. */
  timestamp: string
  /** ISO 8601, of the first try. */
  receivedAt: string
  /** Authentic tries so far, those that were failed on purpose too. */
  attempts: number
  /** One of the tries was answered with 2xx. */
  accepted: boolean
}

export class Inbox {
  readonly #events = new Map<string, BackendEvent>()
  readonly #arrivals = new EventEmitter().setMaxListeners(0)
  #status = 204
  #statusLeft = 0
  refused = 0

  list(type?: string): BackendEvent[] {
    const events = [...this.#events.values()].filter((event) => type === undefined || event.type === type)
    return events.map((event) => ({ ...event }))
  }

  clear(): void {
    this.#events.clear()
  }

  respond(status: number, times = 1): void {
    this.#status = status
    this.#statusLeft = times === 0 ? Number.POSITIVE_INFINITY : times
  }

  /** Notes one authentic try, and gives the status to answer with. */
  receive(id: string, { type, data, timestamp }: Pick<BackendEvent, 'type' | 'data' | 'timestamp'>): number {
    const status = this.#nextStatus()
    const known = this.#events.get(id)
    const event = known ?? {
      id,
      type,
      data,
      timestamp,
      receivedAt: new Date().toISOString(),
      attempts: 0,
      accepted: false
    }
    event.attempts += 1
    event.accepted ||= status < 300
    this.#events.set(id, event)
    this.#arrivals.emit('event', event)
    return status
  }

  waitFor(predicate: (event: BackendEvent) => boolean, timeoutMs: number): Promise<BackendEvent> {
    const here = this.list().find(predicate)
    if (here !== undefined) return Promise.resolve(here)
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer)
        this.#arrivals.off('event', look).off('close', onClose)
        act()
      }
      const look = (event: BackendEvent) => {
        try {
          if (predicate(event)) settle(() => resolve({ ...event }))
        } catch (error) {
          settle(() => reject(error))
        }
      }
      const fail = (why: string) =>
        settle(() => reject(new Error(`no such event ${why}; here are: ${this.#summary()}`)))
      const onClose = () => fail('before the backend was closed')
      const timer = setTimeout(() => fail(`within ${timeoutMs} ms`), timeoutMs)
      this.#arrivals.on('event', look).on('close', onClose)
    })
  }

  close(): void {
    this.#arrivals.emit('close')
  }

  #nextStatus(): number {
    if (this.#statusLeft === 0) return 204
    this.#statusLeft -= 1
    return this.#status
  }

  #summary(): string {
    return (
      this.list()
        .map(({ id, type, attempts }) => `${type} ${id} (${attempts})`)
        .join(', ') || 'none'
    )
  }
}
