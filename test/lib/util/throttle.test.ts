/** The same thing is said once in its time, whatever else is said. */
import t from 'tap'
import { throttle } from '../../../lib/util/throttle.ts'

t.test('throttle() says each text once, and again after the period', async (t) => {
  const said: string[] = []
  const clock = t.capture(performance, 'now', () => at)
  let at = 0
  const say = throttle(1000, (text) => said.push(text))
  for (const [time, text] of [
    [0, 'READONLY'],
    [10, 'READONLY'],
    [20, 'OOM'],
    [999, 'READONLY'],
    [1000, 'READONLY'],
    [1010, 'OOM'],
    [1500, 'OOM']
  ] as const) {
    at = time
    say(text)
  }
  clock.restore()
  t.same(said, ['READONLY', 'OOM', 'READONLY', 'OOM'])
})
