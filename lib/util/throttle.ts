/** For what fails for one reason many times: each cause is said once in `periodMs`. */
export function throttle(periodMs: number, say: (cause: string) => void): (cause: string) => void {
  const saidAt = new Map<string, number>()
  return (cause) => {
    const at = performance.now()
    if (at - (saidAt.get(cause) ?? Number.NEGATIVE_INFINITY) < periodMs) return
    saidAt.set(cause, at)
    say(cause)
  }
}
