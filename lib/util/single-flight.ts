/** One running piece of work, shared by all who ask for it at the same time. */

/** Callers with the same key share one running `load`. After its end, good or bad, the next caller starts a new one. */
export function singleFlight<T>(): (key: string, load: () => Promise<T>) => Promise<T> {
  const running = new Map<string, Promise<T>>()
  return (key, load) => {
    const current = running.get(key)
    if (current !== undefined) return current
    const started = Promise.resolve()
      .then(load)
      .finally(() => running.delete(key))
    running.set(key, started)
    return started
  }
}
