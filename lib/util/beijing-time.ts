/** The times of WeChat, which are Beijing's (UTC+8, no daylight saving), to and from ISO 8601 in UTC. */

export const BEIJING_OFFSET_MS = 8 * 3_600_000

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/

const shifted = (instantMs: number): string => new Date(instantMs + BEIJING_OFFSET_MS).toISOString()

/** The date in Beijing, `YYYY-MM-DD`. */
export const beijingDate = (instantMs: number): string => shifted(instantMs).slice(0, 10)

/**
 * An ISO 8601 instant as APIv2 writes it, `yyyyMMddHHmmss`; parts of a second are dropped. Throws RangeError when it is
 * none or names no zone.
 */
export function toBeijingTime(iso: string): string {
  const instantMs = INSTANT.test(iso) ? Date.parse(iso) : Number.NaN
  if (Number.isNaN(instantMs)) throw new RangeError(`${iso} is not an ISO 8601 instant with a zone`)
  return shifted(instantMs).slice(0, 19).replace(/\D/g, '')
}

/** The same to the second with a zone, as APIv3 writes it. Throws RangeError when it is none. */
export const toBeijingRfc3339 = (iso: string): string => `${shifted(Date.parse(iso)).slice(0, 19)}+08:00`

/** A time of APIv2 in ISO 8601; undefined when it is no date of the calendar. */
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

/** The same for the spelling of refunds: `yyyy-MM-dd HH:mm:ss`. */
export function fromBeijingDateTime(text: string): string | undefined {
  return /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(text) ? fromBeijingTime(text.replace(/\D/g, '')) : undefined
}
