/** A session as answers show it. */
import { isoTime } from './schemas.ts'

interface StoredSession {
  sid: string
  /** Unix seconds, as the next one. */
  createdAt: number
  expiresAt: number
}

export const sessionFields = ({ sid, createdAt, expiresAt }: StoredSession) => ({
  sessionId: sid,
  createdAt: isoTime(createdAt * 1000),
  expiresAt: isoTime(expiresAt * 1000)
})
