import t from 'tap'
import { singleFlight } from '../../../lib/util/single-flight.ts'

t.test('singleFlight() shares running work by its key, and starts anew after its end', async (t) => {
  const flight = singleFlight<string>()
  const gates = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
  let started = 0
  const load = () => (gates[started++] as PromiseWithResolvers<string>).promise
  const first = flight('a', load)
  t.equal(flight('a', load), first, 'the same promise')
  const other = flight('b', async () => 'of another key')
  t.equal(await other, 'of another key')
  gates[0]?.resolve('first')
  t.equal(await first, 'first')
  t.equal(started, 1)
  gates[1]?.reject(new Error('second'))
  const second = flight('a', load)
  await t.rejects(second, { message: 'second' })
  t.equal(started, 2)
  t.equal(await flight('a', async () => 'third'), 'third', 'a failure is not kept')
  await t.rejects(
    flight('a', () => {
      throw new Error('thrown at once')
    }),
    { message: 'thrown at once' }
  )
})
