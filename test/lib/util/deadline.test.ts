/** The time of a call passes in parts, so that a process that stands still does not end it. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { Deadline } from '../../../lib/util/deadline.ts'
import { listenRaw } from '../../listen.ts'
import { standStill } from '../../stand-still.ts'

t.test('a deadline ends no sooner than its time, and soon after twice its time where every turn is slow', async (t) => {
  const startedAt = performance.now()
  await new Promise<void>((resolve) => new Deadline(200).whenOver(resolve))
  const took = performance.now() - startedAt
  t.ok(took >= 195, `${took} ms`)

  const deadline = new Deadline(200)
  let turns = 0
  while (!deadline.isOver) {
    standStill(100)
    await new Promise(setImmediate)
    turns += 1
  }
  t.ok(turns > 1 && turns < 8, `${turns} turns of a tenth of a second, where a part takes one turn`)
})

t.test('one standstill, however long, leaves time to read what came', async (t) => {
  const deadline = new Deadline(200)
  standStill(1000)
  await new Promise((resolve) => setTimeout(resolve, 0))
  t.notOk(deadline.isOver)
  await new Promise<void>((resolve) => deadline.whenOver(resolve))
  t.ok(deadline.isOver)
})

t.test('a standstill in the last part leaves time, too', async (t) => {
  const { promise: peer, resolve } = Promise.withResolvers<Socket>()
  const { port } = await listenRaw(t, resolve)
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const server = await peer
  // Between two of these the timers run once.
  await new Promise(setImmediate)
  const deadline = new Deadline(1000)
  for (let turn = 0; turn < 9; turn += 1) {
    standStill(110)
    await new Promise(setImmediate)
  }
  t.notOk(deadline.isOver)
  server.write('answer')
  standStill(150)
  await once(socket, 'data')
  t.notOk(deadline.isOver, 'what is there is read before')
  deadline.stop()
})

t.test('what moves starts a time of silence anew; stop() ends it for good', async (t) => {
  const [whole, silence, stopped] = [new Deadline(100), new Deadline(100, 'silence'), new Deadline(100, 'silence')]
  let ended = false
  stopped.whenOver(() => {
    ended = true
  })
  stopped.stop()
  const mover = setInterval(() => {
    for (const each of [whole, silence, stopped]) each.moved()
  }, 10)
  await new Promise<void>((resolve) => whole.whenOver(resolve))
  t.notOk(silence.isOver)
  clearInterval(mover)
  await new Promise<void>((resolve) => silence.whenOver(resolve))
  t.notOk(ended)
  let late = 0
  silence.whenOver(() => {
    late += 1
  })
  t.equal(late, 1, 'at once where it is over')
})

t.test('rest() gives several times the time, until something moves', async (t) => {
  const [resting, moving] = [new Deadline(50, 'silence'), new Deadline(50, 'silence')]
  const startedAt = performance.now()
  for (const each of [resting, moving]) each.rest(6)
  moving.moved()
  await new Promise<void>((resolve) => moving.whenOver(resolve))
  t.notOk(resting.isOver)
  await new Promise<void>((resolve) => resting.whenOver(resolve))
  t.ok(performance.now() - startedAt >= 295)
})
