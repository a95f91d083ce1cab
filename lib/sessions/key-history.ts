/**
 * How a user's last session_keys lie in Redis: newest first, each `[ends at, 4 bytes][fingerprint, 4][length, 1][sealed
 * key]`.
 */
import { hash } from 'node:crypto'
import type { Sealer } from '../crypto/seal.ts'

export const SESSION_KEY_BYTES = 16
/** WeChat renews the key at each wx.login; data made a moment before belongs to the one before. */
export const KEPT_SESSION_KEYS = 3

const EXPIRY_BYTES = 4
const FINGERPRINT_BYTES = 4
const HEAD_BYTES = EXPIRY_BYTES + FINGERPRINT_BYTES + 1

/**
 * Decodes a session_key as WeChat writes it: 24 base64 characters (docs/wechat/mini-program.md 1.2). undefined where it
 * is none.
 */
export function decodeSessionKey(text: string): Buffer | undefined {
  const key = Buffer.from(text, 'base64')
  return key.length === SESSION_KEY_BYTES && key.toString('base64') === text ? key : undefined
}

/** Tells the keys of one place apart without opening them. */
export const fingerprint = (key: Buffer, place: string): Buffer =>
  hash('sha256', Buffer.concat([Buffer.from(place), key]), 'buffer').subarray(0, FINGERPRINT_BYTES)

/** One record of the history. The fingerprint lets the same key, handed out again by WeChat, replace itself. */
export function packSessionKey(key: Buffer, expiresAtSeconds: number, place: string, sealer: Sealer): Buffer {
  const sealed = sealer.seal(key, place)
  const record = Buffer.alloc(HEAD_BYTES + sealed.length)
  record.writeUInt32BE(expiresAtSeconds)
  fingerprint(key, place).copy(record, EXPIRY_BYTES)
  record[HEAD_BYTES - 1] = sealed.length
  sealed.copy(record, HEAD_BYTES)
  return record
}

/** The keys that still hold and open, newest first. */
export function unpackSessionKeys(history: Buffer, nowSeconds: number, place: string, sealer: Sealer): Buffer[] {
  return recordsOf(history).flatMap((record) => openRecord(record, nowSeconds, place, sealer) ?? [])
}

/**
 * The key that WeChat gave last; undefined where it holds no more or does not open, also while an older one would: to
 * WeChat that one is dead.
 */
export function unpackNewestKey(
  history: Buffer,
  nowSeconds: number,
  place: string,
  sealer: Sealer
): Buffer | undefined {
  const [newest] = recordsOf(history)
  return newest && openRecord(newest, nowSeconds, place, sealer)
}

/** When each key ends that still holds, Unix seconds, newest key first. None is opened. */
export const sessionKeyEnds = (history: Buffer, nowSeconds: number): number[] =>
  recordsOf(history).flatMap((record) => (record.readUInt32BE() > nowSeconds ? record.readUInt32BE() : []))

/** Whether the history is as we write it, from its first byte to its last. */
export function isWhole(history: Buffer): boolean {
  const records = recordsOf(history)
  return records.length > 0 && records.reduce((size, { length }) => size + length, 0) === history.length
}

/** One that is cut short ends the list. */
function recordsOf(history: Buffer): Buffer[] {
  const records: Buffer[] = []
  for (let at = 0; at + HEAD_BYTES <= history.length; ) {
    const end = at + HEAD_BYTES + history.readUInt8(at + HEAD_BYTES - 1)
    if (end <= history.length) records.push(history.subarray(at, end))
    at = end
  }
  return records
}

const openRecord = (record: Buffer, nowSeconds: number, place: string, sealer: Sealer): Buffer | undefined =>
  record.readUInt32BE() > nowSeconds ? sealer.open(record.subarray(HEAD_BYTES), place) : undefined
