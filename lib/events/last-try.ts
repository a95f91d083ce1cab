/** How a try to deliver went, as text that the queue keeps, and back. */

export interface LastTry {
  /** HTTP status; absent where there was no answer. */
  status?: number
  error?: string
}

/** What is kept of a try that failed. `answered`: the HTTP status, or the kind of failure where there was no answer. */
export function describeFailure(answered: number | string): string {
  if (answered === 410) return 'the receiver answered 410: it wants no more of this'
  return typeof answered === 'number' ? `the receiver answered ${answered}` : `no answer: ${answered}`
}

export function readFailure(text: string): LastTry {
  const [, status] = /^the receiver answered (\d{3})\b/.exec(text) ?? []
  return { ...(status !== undefined && { status: Number(status) }), ...(text !== '' && { error: text }) }
}
