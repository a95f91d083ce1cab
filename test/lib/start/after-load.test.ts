import { once } from 'node:events'
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { AfterLoad } from '../../../lib/start/after-load.ts'

const LOOK_MS = 200

function watch(t: Test) {
  const collected = new EventTarget()
  const counts = { collections: 0 }
  const afterLoad = new AfterLoad({
    lookMs: LOOK_MS,
    collect() {
      counts.collections += 1
      collected.dispatchEvent(new Event('collected'))
    }
  })
  const awake = setInterval(() => {}, 60_000)
  t.teardown(() => {
    afterLoad.stop()
    clearInterval(awake)
  })
  return { counts, next: () => once(collected, 'collected') }
}

/** The event loop has always something to do. */
async function load(ms: number): Promise<void> {
  for (const until = performance.now() + ms; performance.now() < until; ) await nextTurn()
}

t.test('collects once for each time of load, when it is over', async (t) => {
  const { counts, next } = watch(t)
  const first = next()
  await load(3 * LOOK_MS)
  t.equal(counts.collections, 0, 'not under load')
  await first
  const second = next()
  await load(3 * LOOK_MS)
  await second
  t.equal(counts.collections, 2)
})

t.test('collects nothing where there was no load', async (t) => {
  const { counts } = watch(t)
  await pause(4 * LOOK_MS)
  t.equal(counts.collections, 0)
})
