/** The signature by which a user's session_key proves itself to WeChat's APIs (mini-program.md 1.3). */
import { createHmac } from 'node:crypto'

/**
 * hex(HMAC-SHA256(data as UTF-8)). The key goes in as its base64 text, not decoded. `data` is the exact body of a POST,
 * and empty for a GET.
 */
export const signWithSessionKey = (data: string, sessionKey: Buffer): string =>
  createHmac('sha256', sessionKey.toString('base64')).update(data).digest('hex')
