/** The times of WeChat Pay APIv2: `yyyyMMddHHmmss` in Beijing (UTC+8, no daylight saving), without a zone. */

const BEIJING_OFFSET_MS = 8 * 60 * 60 * 1000
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/

/**
 * An ISO 8601 instant as APIv2 writes it; parts of a second are dropped. Throws RangeError when it is none or names no
 * zone.
 */
export function toBeijingTime(iso: string): string {
  const instantMs = INSTANT.test(iso) ? Date.parse(iso) : Number.NaN
  if (Number.isNaN(instantMs)) throw new RangeError(`${iso} is not an ISO 8601 instant with a zone`)
  const shifted = new Date(instantMs + BEIJING_OFFSET_MS).toISOString()
  return shifted.slice(0, 19).replace(/\D/g, '')
}

/** An APIv2 time as ISO 8601 in UTC; undefined when it is no date of the calendar. */
export function fromBeijingTime(text: string): string | undefined {
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(text)
  if (parts === null) return undefined
  const [year, month, day, hour, minute, second] = parts.slice(1)
  const written = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`
  const shiftedMs = Date.parse(written)
  // The way back shows what Date refuses, and what it silently moves: February 30th, 24 o'clock.
  if (Number.isNaN(shiftedMs) || new Date(shiftedMs).toISOString() !== written) return undefined
  return new Date(shiftedMs - BEIJING_OFFSET_MS).toISOString()
}

/** As `fromBeijingTime`, for the spelling of refunds: `yyyy-MM-dd HH:mm:ss`. */
export function fromBeijingDateTime(text: string): string | undefined {
  return /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(text) ? fromBeijingTime(text.replace(/\D/g, '')) : undefined
}
