/** Informational answers (1xx) of a receiver or of WeChat are skipped. The answer after them counts. */
import type { Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Upstream } from '../../../lib/http/upstream.ts'
import { listenRaw } from '../../listen.ts'
import { event, eventWorld } from '../events/world.ts'

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'
const HINTS = 'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n'
const PROCESSING = 'HTTP/1.1 102 Processing\r\n\r\n'
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
const SWITCHING = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'

/** What a server writes, piece by piece, and the status that counts; `undefined`: none does. */
const ROWS: Record<string, [pieces: string[], status: number | undefined]> = {
  'nothing before': [[OK], 200],
  '100 with it': [[CONTINUE + OK], 200],
  '100 apart': [[CONTINUE, OK], 200],
  '100 with headers': [[`HTTP/1.1 100 Continue\r\nDate: x\r\nContent-Length: 0\r\n\r\n${OK}`], 200],
  '100 without a reason': [[`HTTP/1.1 100\r\n\r\n${OK}`], 200],
  '100 by HTTP/1.0': [[`HTTP/1.0 100 Continue\r\n\r\n${OK}`], 200],
  '100 in single bytes': [[...CONTINUE, OK], 200],
  'the line cut in the middle': [['HTTP/1.1 1', '00 Continue\r\n\r', `\n${OK}`], 200],
  'the head that counts cut in the middle': [['HTTP/1.1 2', OK.slice('HTTP/1.1 2'.length)], 200],
  '102': [[PROCESSING, OK], 200],
  '103': [[HINTS, OK], 200],
  '103, two hundred times': [[HINTS.repeat(200), OK], 200],
  '199': [['HTTP/1.1 199 Whatever\r\n\r\n', OK], 200],
  'several, mixed': [[CONTINUE + HINTS, CONTINUE, PROCESSING + HINTS, OK], 200],
  'then 204': [[CONTINUE, 'HTTP/1.1 204 No Content\r\n\r\n'], 204],
  'then chunks': [[CONTINUE, 'HTTP/1.1 201 x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'], 201],
  'then a body that looks like one': [
    [CONTINUE, `HTTP/1.1 200 OK\r\nContent-Length: ${CONTINUE.length}\r\n\r\n`, CONTINUE],
    200
  ],
  'then 500': [[CONTINUE, 'HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n'], 500],
  'then 302': [[HINTS, 'HTTP/1.1 302 x\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n'], 302],
  'and no more': [[CONTINUE], undefined],
  'a head without end': [[`HTTP/1.1 100 Continue\r\nx: ${'x'.repeat(20_000)}`], undefined],
  '101, which nobody asked for': [[SWITCHING, OK], 200],
  '101 with it': [[SWITCHING + OK], 200],
  '101 without Upgrade': [['HTTP/1.1 101 Switching Protocols\r\n\r\n', OK], 200],
  '101 in single bytes': [[...SWITCHING, OK], 200],
  '101 among others': [[CONTINUE + SWITCHING, HINTS + SWITCHING, OK], 200],
  '101, then 500': [[SWITCHING, 'HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n'], 500],
  '101 and no more': [[SWITCHING], undefined],
  '101 and another protocol': [[SWITCHING, '\0\x01\x02'], undefined]
}

/** Answers a request by the row that its path names; where no status counts, the connection ends. */
async function startServer(t: Test) {
  const onSocket = (socket: Socket) =>
    socket.on('data', async (request) => {
      const nth = /^\w+ \/(\d+) /.exec(request.toString('latin1'))?.[1]
      const [pieces, status] = Object.values(ROWS)[Number(nth ?? -1)] ?? [[], 0]
      for (const piece of pieces) {
        socket.write(piece)
        await pause(2)
      }
      if (status === undefined) socket.end()
    })
  const { port, sockets } = await listenRaw(t, onSocket, { noDelay: true })
  return { origin: `http://127.0.0.1:${port}`, sockets }
}

t.test('a delivery goes by the answer that follows', async (t) => {
  const { origin } = await startServer(t)
  t.equal(Object.keys(ROWS).length, 29)
  for (const [nth, [name, [, status]]] of Object.entries(ROWS).entries()) {
    const { recorder, start } = await eventWorld(t)
    const tried = Promise.withResolvers<unknown>()
    const { delivery } = start(`${origin}/${nth}`, {
      times: { answerMs: 5000, pauseMs: () => 100_000 },
      onTry: (report) => tried.resolve(report.status ?? report.error)
    })
    await recorder.record(event(`pay_1_${nth}`))
    const outcome = await tried.promise
    if (status === undefined) t.match(outcome, /^(UND_ERR_|HPE_|HTTPParserError)/, name)
    else t.equal(outcome, status, name)
    await delivery.close()
  }
})

t.test('a call to WeChat goes by the answer that follows, and the connection is kept', async (t) => {
  const { origin, sockets } = await startServer(t)
  const upstream = new Upstream({ origins: [origin], timeoutMs: 5000, connectionsPerOrigin: 1 })
  t.teardown(() => upstream.close())
  const call = (nth: number) => upstream.send({ method: 'POST', path: `/${nth}`, body: 'x' })
  const rows = Object.entries(ROWS)
  const looksLikeOne = Object.keys(ROWS).indexOf('then a body that looks like one')
  for (const round of [1, 2]) {
    for (const [nth, [name, [, status]]] of rows.entries())
      if (status !== undefined) t.match(await call(nth), { status }, `${name}, ${round}`)
  }
  t.equal((await call(looksLikeOne)).body.toString(), CONTINUE)
  t.equal(sockets.size, 1, 'one connection for all of them')
  for (const [nth, [name, [, status]]] of rows.entries())
    if (status === undefined) await t.rejects(call(nth), { code: /^WECHAT_(UNREACHABLE|BAD_RESPONSE)$/ }, name)
})
