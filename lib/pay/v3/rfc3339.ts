/** The times of WeChat Pay APIv3: RFC 3339, in practice with Beijing's `+08:00`. */

const RFC_3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/

/** undefined when it is no date of the calendar, or names no zone. */
export function toIsoUtc(text: string): string | undefined {
  const written = RFC_3339.exec(text)?.[1]
  const instantMs = written === undefined ? Number.NaN : Date.parse(text)
  if (written === undefined || Number.isNaN(instantMs)) return undefined
  // The way back shows what Date silently moves: February 30th, 24 o'clock.
  const isOfCalendar = new Date(`${written}Z`).toISOString().startsWith(written)
  return isOfCalendar ? new Date(instantMs).toISOString() : undefined
}

const BEIJING_OFFSET_MS = 8 * 60 * 60 * 1000

/** An ISO 8601 instant with a zone, to the second, as WeChat writes it. Throws RangeError when it is none. */
export function toBeijingRfc3339(iso: string): string {
  return `${new Date(Date.parse(iso) + BEIJING_OFFSET_MS).toISOString().slice(0, 19)}+08:00`
}
