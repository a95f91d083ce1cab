/** The signature that proves a session_key: for checkSessionKey, resetUserSessionKey and their kin. */
import { createHmac } from 'node:crypto'

/** Lower-case hex. The key is the base64 text itself, not its 16 bytes. The message is the body, empty for a GET. */
export function signWithSession(sessionKey: string, message = ''): string {
  return createHmac('sha256', sessionKey).update(message, 'utf8').digest('hex')
}
