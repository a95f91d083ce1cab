/** WeChat Pay v2 writes times as yyyyMMddHHmmss in Beijing, which is UTC+8 all year. */
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
