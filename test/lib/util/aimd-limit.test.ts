/** One more after a whole round of successes, half after a failure, and never none. */
import t from 'tap'
import { AimdLimit } from '../../../lib/util/aimd-limit.ts'

/** A limit of at most eight, and what it was changed to. */
function eight() {
  const changes: number[] = []
  return { changes, limit: new AimdLimit(8, (now) => changes.push(now)) }
}

t.test('failed() halves once for all that were under way together, down to one', async (t) => {
  const { limit, changes } = eight()
  const together = Array.from({ length: 8 }, () => limit.begin())
  for (const begun of together) limit.failed(begun)
  t.same(changes, [4])
  const [late = 0] = together
  for (let time = 0; time < 3; time++) limit.failed(limit.begin())
  t.same(changes, [4, 2, 1, 1])
  limit.failed(late)
  t.same(changes, [4, 2, 1, 1], 'one that began before tells nothing new')
})

t.test('succeeded() adds one after as many successes as the limit allows, up to the most', async (t) => {
  const { limit, changes } = eight()
  for (let time = 0; time < 3; time++) limit.failed(limit.begin())
  const risenAfter: number[] = []
  for (let successes = 1; successes <= 100; successes++) {
    const before = changes.length
    limit.succeeded()
    if (changes.length > before) risenAfter.push(successes)
  }
  t.same(changes, [4, 2, 1, 2, 3, 4, 5, 6, 7, 8])
  t.same(risenAfter, [1, 3, 6, 10, 15, 21, 28])
})

t.test('failed() takes the successes since the last change away', async (t) => {
  const { limit, changes } = eight()
  limit.failed(limit.begin())
  for (let time = 0; time < 3; time++) limit.succeeded()
  limit.failed(limit.begin())
  limit.succeeded()
  t.same(changes, [4, 2])
  limit.succeeded()
  t.same(changes, [4, 2, 3])
})
