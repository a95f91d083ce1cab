import t from 'tap'
import { BackOff } from '../../../lib/util/back-off.ts'

t.test(
  'a back-off answers with the last failure, pauses longer each time up to 30 s, and forgets after a success',
  async (t) => {
    let nowMs = 0
    let calls = 0
    const backOff = new BackOff(() => nowMs)
    const fail = () =>
      backOff.run('a', async () => {
        calls += 1
        throw new Error(`failure ${calls}`)
      })
    for (const [attempt, seconds] of [1, 2, 4, 8, 16, 30, 30].entries()) {
      await t.rejects(fail(), { message: `failure ${attempt + 1}` })
      nowMs += seconds * 1000 - 1
      await t.rejects(fail(), { message: `failure ${attempt + 1}` }, 'told again')
      t.equal(calls, attempt + 1)
      nowMs += 1
    }
    t.equal(await backOff.run('b', async () => 'other keys go on'), 'other keys go on')
    t.equal(await backOff.run('a', async () => 'well'), 'well')
    await t.rejects(fail(), { message: 'failure 8' })
    nowMs += 1000
    await t.rejects(fail(), { message: 'failure 9' }, 'one second again')
  }
)
