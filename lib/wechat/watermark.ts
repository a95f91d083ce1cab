/** The watermark in data about users: for which app, and when it was obtained (docs/wechat/mini-program.md 2.2). */
import { ServiceError } from '../errors.ts'

export interface Watermark {
  appid: string
  /** Unix seconds: when the data was obtained. undefined where that cannot be read. */
  timestamp: number | undefined
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
  return typeof appid === 'string' ? { appid, timestamp: secondsOf(timestamp) } : undefined
}

function secondsOf(timestamp: unknown): number | undefined {
  if (typeof timestamp === 'number') return timestamp
  return typeof timestamp === 'string' && SECONDS.test(timestamp) ? Number(timestamp) : undefined
}

/**
 * Throws WATERMARK_INVALID. Where the time cannot be read, data that does not hold by its appid alone is
 * DECRYPT_FAILED: nobody learns that it opened.
 */
export function checkWatermark({ appid, timestamp }: Watermark, rules: WatermarkRules): void {
  const { maxAgeSeconds, nowMs } = rules
  const isForeign = appid !== rules.appid
  if (timestamp === undefined) {
    if (!isForeign && maxAgeSeconds === 0) return
    throw new ServiceError('DECRYPT_FAILED', { detail: 'the time in the watermark cannot be read' })
  }
  if (isForeign) throw new ServiceError('WATERMARK_INVALID', { detail: 'the watermark names another appid' })
  if (maxAgeSeconds > 0 && nowMs / 1000 - timestamp > maxAgeSeconds)
    throw new ServiceError('WATERMARK_INVALID', { detail: 'the data is older than WATERMARK_MAX_AGE' })
}
