/** What a caller sees of a refusal, and that forgers see the same of each. */
import type { Test } from 'tap'

interface Seen {
  statusCode: number
  headers: Record<string, unknown>
  body: string
}

/** Everything that a caller sees, except what differs at every request. */
export function faceOf({ statusCode, headers, body }: Seen): string {
  const { date: _, 'x-request-id': __, ...others } = headers
  return JSON.stringify([statusCode, body, others])
}

/** By name. */
export type Forgeries<Message> = Record<string, [reason: string, message: Message]>

export interface Refusing<Message, Answer extends Seen> {
  send(message: Message): Promise<Answer>
  /** Asserts that the answer is the refusal. */
  check(answer: Answer, name: string): void
  /** The names of the keys in Redis. */
  traces(): Promise<string[]>
}

/** Each is refused with one face, and leaves nothing in Redis. */
export async function refusesAlike<Message, Answer extends Seen>(
  t: Test,
  forgeries: Forgeries<Message>,
  { send, check, traces }: Refusing<Message, Answer>
): Promise<void> {
  const before = await traces()
  const faces = new Set<string>()
  for (const [name, [, message]] of Object.entries(forgeries)) {
    const answer = await send(message)
    check(answer, name)
    faces.add(faceOf(answer))
    t.same(await traces(), before, `${name} leaves nothing in Redis`)
  }
  t.equal(faces.size, 1, 'status, headers and body of all refusals are the same')
}
