/** throttle(): each cause once in its period. */
import t from 'tap'
import { throttle } from '../../../lib/util/throttle.ts'

t.test('throttle() says each cause once in its period', async (t) => {
  const said: string[] = []
  const warn = throttle(60_000, (cause) => said.push(cause))
  for (const cause of ['READONLY', 'ECONNRESET', 'READONLY']) warn(cause)
  t.same(said, ['READONLY', 'ECONNRESET'])
})

t.test('throttle() says it again once the period is over', async (t) => {
  const said: string[] = []
  const warn = throttle(0, (cause) => said.push(cause))
  for (const cause of ['READONLY', 'READONLY']) warn(cause)
  t.same(said, ['READONLY', 'READONLY'])
})
