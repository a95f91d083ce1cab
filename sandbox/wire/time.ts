/** WeChat Pay v2 writes times as yyyyMMddHHmmss in Beijing, which is UTC+8 all year; APIv3 as RFC 3339. */
const BEIJING_OFFSET_MS = 8 * 3600 * 1000

export function beijingTime(ms: number): string {
  return new Date(ms + BEIJING_OFFSET_MS).toISOString().replace(/\D/g, '').slice(0, 14)
}

/** The Beijing day as yyyyMMdd: daily limits start anew with it. */
export function beijingDay(ms: number): string {
  return beijingTime(ms).slice(0, 8)
}

/** Milliseconds since 1970, or undefined where the text is no such time (13th month, 30 February). */
export function parseBeijingTime(text: string): number | undefined {
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(text)
  if (parts === null) return undefined
  const [, year, month, day, hour, minute, second] = parts
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}+08:00`)
  return Number.isNaN(ms) || beijingTime(ms) !== text ? undefined : ms
}

/** `2025-01-01T08:00:00+08:00`. */
export function rfc3339(ms: number): string {
  return `${new Date(ms + BEIJING_OFFSET_MS).toISOString().slice(0, 19)}+08:00`
}

/** `2025-01-01 08:00:00`, Beijing: refund notices of v2, and bills. */
export function beijingText(ms: number): string {
  return rfc3339(ms).slice(0, 19).replace('T', ' ')
}

/** Milliseconds since 1970, or undefined where the text is no such time. */
export function parseRfc3339(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text)) return undefined
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? undefined : ms
}
