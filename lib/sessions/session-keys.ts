/** How a user's last session_keys lie in Redis: newest first, each `[ends at, 4 bytes][fingerprint, 4][length, 1][sealed key]`. */
import { hash } from 'node:crypto'
import type { Sealer } from './seal.ts'

export const SESSION_KEY_BYTES = 16
/** WeChat renews the key at each wx.login; data made a moment before belongs to the one before. */
export const KEPT_SESSION_KEYS = 3

const EXPIRY_BYTES = 4
const HEAD_BYTES = EXPIRY_BYTES + 4 + 1

/** Decodes a session_key as WeChat writes it (24 base64 characters); undefined where it is not one (mini-program.md 1.2). */
export function decodeSessionKey(text: string): Buffer | undefined {
  const key = Buffer.from(text, 'base64')
  return key.length === SESSION_KEY_BYTES && key.toString('base64') === text ? key : undefined
}

/** One record of the history. The fingerprint lets the same key, handed out again by WeChat, replace itself. */
export function packSessionKey(key: Buffer, expiresAtSeconds: number, place: string, sealer: Sealer): Buffer {
  const sealed = sealer.seal(key, place)
  const record = Buffer.alloc(HEAD_BYTES + sealed.length)
  record.writeUInt32BE(expiresAtSeconds)
  hash('sha256', Buffer.concat([Buffer.from(place), key]), 'buffer').copy(record, EXPIRY_BYTES, 0, 4)
  record[HEAD_BYTES - 1] = sealed.length
  sealed.copy(record, HEAD_BYTES)
  return record
}

/** The keys that still hold and open, newest first. */
export function unpackSessionKeys(history: Buffer, nowSeconds: number, place: string, sealer: Sealer): Buffer[] {
  const keys: Buffer[] = []
  for (let at = 0; at + HEAD_BYTES <= history.length; ) {
    const end = at + HEAD_BYTES + history.readUInt8(at + HEAD_BYTES - 1)
    const key =
      history.readUInt32BE(at) > nowSeconds ? sealer.open(history.subarray(at + HEAD_BYTES, end), place) : undefined
    if (key !== undefined) keys.push(key)
    at = end
  }
  return keys
}
