/** Percent-encoding, undone without an exception. */

/** undefined where a `%` begins no byte, or the bytes are no UTF-8. */
export function decodePercent(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
