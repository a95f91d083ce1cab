/**
 * /internal/apps/{appid}/wechat: a long answer passes through as it comes, and what breaks off is never taken for
 * whole.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { API_KEY, APPID, build, type World } from '../../helper.ts'
import { listenFor } from '../../listen.ts'
import { until } from '../api/client.ts'
import { valuesOf } from '../metrics.ts'

const MEBIBYTE = 1024 * 1024
/** More than is held, and less than all. */
const BEGUN = randomBytes(200_000)

interface Passing extends World {
  /** The answer as soon as its head is there, unread. */
  fetch(): Promise<IncomingMessage>
}

/** A WeChat that answers every call but those for a token by `answer`. */
async function passing(t: Test, answer: (response: ServerResponse) => unknown): Promise<Passing> {
  const { origin } = await listenFor(t, (request, response) => {
    const isToken = request.url === '/cgi-bin/stable_token'
    const token = JSON.stringify({ access_token: 'tok', expires_in: 7200 })
    request.resume().once('end', () => (isToken ? response.end(token) : answer(response)))
  })
  const world = await build(t, { env: { WECHAT_API_ORIGIN: origin, WECHAT_TIMEOUT_MS: '1000' } })
  await world.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = world.app.server.address() as AddressInfo
  const path = `/internal/apps/${APPID}/wechat/cgi-bin/media/get`
  const headers = { authorization: `Bearer ${API_KEY}` }
  return {
    ...world,
    fetch: async () => {
      const [response] = await once(get({ port, path, headers, agent: false }), 'response')
      return response
    }
  }
}

const named = (response: ServerResponse, length: number) => response.writeHead(200, { 'content-length': length })

interface Line {
  msg: string
  code?: string
  status?: number
  route?: string
}

async function lineOf(world: World, msg: string): Promise<Line | undefined> {
  const find = () =>
    world
      .logs()
      .split('\n')
      .find((line) => line.includes(`"msg":"${msg}"`))
  await until(async () => find() !== undefined)
  return JSON.parse(find() ?? '')
}

const countsOf = async ({ app }: World) => (await valuesOf(app, 'upstream_calls_total')) as Record<string, number>
const ROUTE = 'GET /internal/apps/:appid/wechat/*'

t.test('answers of any length come byte for byte, with the length that WeChat named', async (t) => {
  let body = Buffer.alloc(0)
  let isNamed = true
  const world = await passing(t, (response) =>
    (isNamed ? named(response, body.length) : response.writeHead(200)).end(body)
  )
  for (const bytes of [0, 1, 65_535, 65_536, 65_537, 131_072, MEBIBYTE, 9 * MEBIBYTE, 10 * MEBIBYTE]) {
    body = randomBytes(bytes)
    for (isNamed of [true, false]) {
      const answer = await world.fetch()
      t.match(answer, { statusCode: 200, headers: { 'content-length': String(bytes), 'transfer-encoding': undefined } })
      t.ok((await buffer(answer)).equals(body), `${bytes} bytes`)
    }
  }
  body = Buffer.alloc(10 * MEBIBYTE + 1)
  for (isNamed of [true, false])
    t.match(JSON.parse((await buffer(await world.fetch())).toString()), { code: 'WECHAT_BAD_RESPONSE' })
  t.match(await countsOf(world), { 'passthrough ok': 18, 'passthrough WECHAT_BAD_RESPONSE': 2 })
})

t.test('a caller that reads slowly gets all of it', async (t) => {
  const body = randomBytes(9 * MEBIBYTE)
  const world = await passing(t, (response) => named(response, body.length).end(body))
  const chunks: Buffer[] = []
  for await (const chunk of await world.fetch()) {
    chunks.push(chunk)
    await setImmediate()
  }
  t.ok(Buffer.concat(chunks).equals(body))
})

t.test('an answer that breaks off, or stops coming, is broken off, logged and counted', async (t) => {
  const ends: [code: string, end: (response: ServerResponse) => unknown][] = [
    ['WECHAT_UNREACHABLE', (response) => response.destroy()],
    ['WECHAT_TIMEOUT', () => undefined]
  ]
  for (const [code, end] of ends) {
    const world = await passing(t, (response) => named(response, MEBIBYTE).write(BEGUN, () => end(response)))
    const answer = await world.fetch()
    t.match(answer, { statusCode: 200, headers: { 'content-length': String(MEBIBYTE) } })
    await t.rejects(buffer(answer), { code: 'ECONNRESET' })
    t.match(await lineOf(world, 'answer broken off'), { code, status: 200, route: ROUTE })
    t.match(await countsOf(world), { [`passthrough ${code}`]: 1, 'passthrough ok': undefined })
    t.match(await valuesOf(world.app, 'http_requests_aborted_total'), { [ROUTE]: 1 })
  }
})

t.test('one that breaks off before it is passed on is refused in words', async (t) => {
  const ends: [code: string, end: (response: ServerResponse) => unknown][] = [
    ['WECHAT_UNREACHABLE', (response) => response.destroy()],
    ['WECHAT_TIMEOUT', () => undefined]
  ]
  for (const [code, end] of ends) {
    const begun = BEGUN.subarray(0, 1000)
    const world = await passing(t, (response) => named(response, MEBIBYTE).write(begun, () => end(response)))
    const refused = await buffer(await world.fetch())
    t.match(JSON.parse(refused.toString()), { code, requestId: /./ })
    t.match(await lineOf(world, 'request'), { code, route: ROUTE })
  }
})

t.test('a caller that leaves ends the call to WeChat', async (t) => {
  const left = Promise.withResolvers<void>()
  const world = await passing(t, (response) => {
    response.once('close', left.resolve)
    named(response, MEBIBYTE).write(BEGUN)
  })
  const answer = await world.fetch()
  answer.destroy()
  await left.promise
  t.match(await lineOf(world, 'request broken off by the client'), { route: ROUTE })
  t.match(await countsOf(world), { 'passthrough ok': 1 }, 'WeChat had answered')
  t.match(await valuesOf(world.app, 'http_requests_aborted_total'), { [ROUTE]: 1 })
})
