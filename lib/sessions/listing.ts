/** A user's sessions page by page, in an order that stays the same while sessions come and go. */
import type { Page, PageRequest, Session } from './model.ts'

/**
 * One page. The cursor names a place in the order, not a session, so it is good also after that session has ended: the
 * second of its creation in base 36, a dot, its id.
 */
export function pageOf(sessions: readonly Session[], { limit, cursor }: PageRequest): Page {
  const after = cursor === undefined ? undefined : placeOf(cursor)
  const rest = sessions.toSorted(inOrder).filter((session) => after === undefined || inOrder(after, session) < 0)
  const items = rest.slice(0, limit)
  const last = items.at(-1)
  return { items, next: last !== undefined && rest.length > limit ? cursorOf(last) : undefined }
}

type Place = Pick<Session, 'createdAt' | 'sid'>

function inOrder(one: Place, other: Place): number {
  if (one.createdAt !== other.createdAt) return other.createdAt - one.createdAt
  if (one.sid === other.sid) return 0
  return one.sid < other.sid ? -1 : 1
}

const cursorOf = ({ createdAt, sid }: Place): string => `${createdAt.toString(36)}.${sid}`

function placeOf(cursor: string): Place {
  const [created = '', sid = ''] = cursor.split('.')
  return { createdAt: Number.parseInt(created, 36), sid }
}
