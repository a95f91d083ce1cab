import { getActiveResourcesInfo } from 'node:process'
import t from 'tap'
import { withTimeout } from '../../../lib/util/deadline.ts'

const timers = () => getActiveResourcesInfo().filter((name) => name === 'Timeout').length

t.test('withTimeout() waits for a promise, but not for ever, and leaves no timer', async (t) => {
  const before = timers()
  await withTimeout(Promise.resolve(), 60_000)
  await t.rejects(withTimeout(Promise.reject(new Error('in time')), 60_000), { message: 'in time' })
  t.equal(timers(), before)
  const { promise, reject } = Promise.withResolvers<void>()
  const started = performance.now()
  await withTimeout(promise, 20)
  t.ok(performance.now() - started >= 19)
  reject(new Error('too late for anybody'))
  await new Promise(setImmediate)
  t.equal(timers(), before)
})
