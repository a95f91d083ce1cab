/** The watermark in data about users: for which app, and when it was obtained (docs/wechat/mini-program.md 2.2). */
import { ServiceError } from '../errors.ts'

export interface Watermark {
  appid: string
  /** Unix seconds: when the data was obtained. */
  timestamp: number
}

export interface WatermarkRules {
  appid: string
  /** Seconds; 0: age unchecked. */
  maxAgeSeconds: number
  nowMs: number
}

const SECONDS = /^\d{1,15}$/

/** undefined where it is none. The time may be written as a number or as text. */
export function watermarkOf(value: unknown): Watermark | undefined {
  const { appid, timestamp } = (value ?? {}) as { appid?: unknown; timestamp?: unknown }
  if (typeof appid !== 'string') return undefined
  if (typeof timestamp === 'number') return { appid, timestamp }
  return typeof timestamp === 'string' && SECONDS.test(timestamp) ? { appid, timestamp: Number(timestamp) } : undefined
}

/** Throws WATERMARK_INVALID. */
export function checkWatermark(watermark: Watermark, { appid, maxAgeSeconds, nowMs }: WatermarkRules): void {
  if (watermark.appid !== appid)
    throw new ServiceError('WATERMARK_INVALID', { detail: 'the watermark names another appid' })
  if (maxAgeSeconds > 0 && nowMs / 1000 - watermark.timestamp > maxAgeSeconds)
    throw new ServiceError('WATERMARK_INVALID', { detail: 'the data is older than WATERMARK_MAX_AGE' })
}
