/**
 * The signature of message push: SHA-1 over sorted parts, the Token among them (docs/wechat/mini-program.md 5.1, 5.2).
 */
import { hash, timingSafeEqual } from 'node:crypto'

const SIGNATURE = /^[0-9a-f]{40}$/

/** 40 hex digits in lower case. `parts`: the Token and what it signs, all ASCII, in any order. */
export function signPush(parts: readonly string[]): string {
  return hash('sha1', [...parts].sort().join(''))
}

/** Whether `given` is their signature; takes the same time wherever it differs. An absent one is a wrong one. */
export function verifyPush(parts: readonly string[], given: string | undefined): boolean {
  if (given === undefined || !SIGNATURE.test(given)) return false
  return timingSafeEqual(Buffer.from(signPush(parts)), Buffer.from(given))
}
