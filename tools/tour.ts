/**
 * `npm run tour`: everything that a user and a payment go through, step by step, against a running `npm run dev` or a
 * private gateway.
 */
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { type DevWorld, NOTE, startDevWorld } from './dev-world.ts'

const WEBHOOK_PATIENCE_MS = 10_000
const AMOUNT_FEN = 4200

type Fields = Record<string, unknown>

interface Answer {
  status: number
  body: Fields
}

interface Call {
  bearer?: string
  /** Makes it a POST. */
  send?: Fields
}

async function call(url: string, { bearer, send }: Call = {}): Promise<Answer> {
  const answer = await fetch(url, {
    method: send === undefined ? 'GET' : 'POST',
    headers: {
      ...(bearer && { authorization: `Bearer ${bearer}` }),
      ...(send && { 'content-type': 'application/json' })
    },
    ...(send && { body: JSON.stringify(send) })
  })
  const text = await answer.text()
  return { status: answer.status, body: text === '' ? {} : JSON.parse(text) }
}

function text(fields: Fields, name: string): string {
  const value = fields[name]
  if (typeof value !== 'string') throw new Error(`${name} is missing in ${JSON.stringify(fields)}`)
  return value
}

const list = (fields: Fields, name: string): Fields[] => (Array.isArray(fields[name]) ? (fields[name] as Fields[]) : [])

function expectStatus(answer: Answer, status: number): Fields {
  if (answer.status !== status)
    throw new Error(`expected status ${status}, got ${answer.status}: ${JSON.stringify(answer.body)}`)
  return answer.body
}

let count = 0

/** Runs one step, shows what came of it, and gives it to the next. */
async function step<T extends Fields>(title: string, act: () => Promise<T>): Promise<T> {
  process.stdout.write(`${String(++count).padStart(2)}  ${title}\n`)
  const outcome = await act()
  for (const [name, value] of Object.entries(outcome)) process.stdout.write(`      ${name}: ${shorten(value)}\n`)
  return outcome
}

function shorten(value: unknown): string {
  const shown = typeof value === 'string' ? value : JSON.stringify(value)
  return shown.length > 100 ? `${shown.slice(0, 60)}… (${shown.length} characters)` : shown
}

async function walk(world: DevWorld): Promise<void> {
  const { gateway, sandbox, appid } = world
  await step('GET /api/test: the gateway answers', async () => expectStatus(await call(`${gateway}/api/test`), 200))

  const { code } = await step('the user opens the mini-program; wx.login gives a code', async () => ({
    code: text(expectStatus(await call(`${sandbox}/sandbox/login`, { send: { appid } }), 200), 'code')
  }))
  const user = await step('POST /api/login: the code becomes a token', async () => {
    const body = expectStatus(await call(`${gateway}/api/login`, { send: { code } }), 200)
    return { openid: text(body, 'openid'), token: text(body, 'token') }
  })
  await step('GET /api/session: who is logged in', async () =>
    expectStatus(await call(`${gateway}/api/session`, { bearer: user.token }), 200)
  )

  const button = await step('the user allows their phone number; the button gives encrypted data', async () => {
    const body = expectStatus(
      await call(`${sandbox}/sandbox/phone-button`, { send: { appid, openid: user.openid } }),
      200
    )
    return { encryptedData: text(body, 'encryptedData'), iv: text(body, 'iv') }
  })
  await step('POST /api/phone: the session_key in Redis opens it', async () =>
    expectStatus(await call(`${gateway}/api/phone`, { bearer: user.token, send: button }), 200)
  )

  await writeToService(world, user.openid)
  for (const api of ['v3', 'v2'] as const) await buyAndReturn(world, user.openid, api)

  await step('POST /api/logout, and the token is refused from now on', async () => {
    expectStatus(await call(`${gateway}/api/logout`, { bearer: user.token, send: {} }), 204)
    const body = expectStatus(await call(`${gateway}/api/session`, { bearer: user.token }), 401)
    return { code: text(body, 'code') }
  })
}

/** What a user writes to customer service comes by message push, encrypted. */
async function writeToService({ gateway, sandbox, backend, appid }: DevWorld, openid: string): Promise<void> {
  await step('the user writes to customer service; WeChat pushes it, and once more', async () => {
    const send = { appid, url: `${gateway}/wechat/push/${appid}`, openid, kind: 'text', times: 2 }
    const body = expectStatus(await call(`${sandbox}/sandbox/push`, { send }), 200)
    return { message: text(body, 'message'), pushes: taken(body, 'deliveries') }
  })
  await step('the backend receives one signed event', () =>
    receivedOnce(backend, 'message.received', (data) => data.openid === openid)
  )
}

/** An order is paid, told to the backend, given back, and told again. */
async function buyAndReturn(world: DevWorld, openid: string, api: 'v2' | 'v3'): Promise<void> {
  const { gateway, sandbox, backend, appid, apiKey: bearer } = world
  const outTradeNo = `tour${api}${Date.now()}`
  const order = await step(`POST /internal/pay/orders: the merchant's backend orders, by API${api}`, async () => {
    const send = { appid, openid, outTradeNo, description: 'A walk through wxgate', amount: AMOUNT_FEN, api }
    const body = expectStatus(await call(`${gateway}/internal/pay/orders`, { bearer, send }), 200)
    return { prepayId: text(body, 'prepayId'), payParams: body.payParams }
  })
  const payment = await step('the user pays; WeChat tells us twice', async () => {
    const send = { prepayId: order.prepayId, times: 2 }
    const body = expectStatus(await call(`${sandbox}/sandbox/pay`, { send }), 200)
    return { transactionId: text(body, 'transactionId'), notices: taken(body) }
  })
  const { transactionId } = payment
  await step('the backend receives one signed event', () =>
    receivedOnce(backend, 'payment.succeeded', (data) => data.transactionId === transactionId)
  )

  const outRefundNo = `${outTradeNo}back`
  await step('POST /internal/pay/refunds: the merchant gives the money back', async () => {
    const send = { outTradeNo, outRefundNo, amount: AMOUNT_FEN, total: AMOUNT_FEN, reason: 'The tour ends' }
    return expectStatus(await call(`${gateway}/internal/pay/refunds`, { bearer, send }), 200)
  })
  await step('the money arrives; WeChat tells us', async () => {
    const body = expectStatus(await call(`${sandbox}/sandbox/refund`, { send: { outRefundNo } }), 200)
    return { refundId: text(body, 'refundId'), notices: taken(body) }
  })
  await step('the backend receives that too', () =>
    receivedOnce(backend, 'refund.succeeded', (data) => data.outRefundNo === outRefundNo)
  )
}

/** The statuses that WeChat got; any refusal ends the tour. */
function taken(body: Fields, name: 'notices' | 'deliveries' = 'notices'): unknown[] {
  const statuses = list(body, name).map(({ status }) => Number(status))
  if (statuses.length === 0 || statuses.some((status) => status >= 300))
    throw new Error(`the gateway did not take all ${name}: ${JSON.stringify(body[name])}`)
  return statuses
}

async function receivedOnce(backend: string, type: string, isOurs: (data: Fields) => boolean): Promise<Fields> {
  for (const giveUpAt = Date.now() + WEBHOOK_PATIENCE_MS; Date.now() < giveUpAt; await pause(100)) {
    const { body } = await call(`${backend}/events?type=${type}`)
    const ours = Object.values(body as Record<string, Fields>).filter(({ data }) => isOurs(data as Fields))
    if (ours.length > 1) throw new Error('the event came under more than one id')
    const [event] = ours
    if (event !== undefined) return { id: event.id, type: event.type, data: event.data }
  }
  throw new Error(`no event arrived within ${WEBHOOK_PATIENCE_MS / 1000} s`)
}

/** The note of a running `npm run dev`, where there is one that answers. */
async function runningWorld(): Promise<DevWorld | undefined> {
  if (!existsSync(NOTE)) return undefined
  const world: DevWorld = JSON.parse(readFileSync(NOTE, 'utf8'))
  return fetch(`${world.gateway}/readyz`).then(
    ({ ok }) => (ok ? world : undefined),
    () => undefined
  )
}

async function tour(): Promise<void> {
  const running = await runningWorld()
  if (running !== undefined) {
    process.stdout.write(`The gateway of npm run dev: ${running.gateway}\n\n`)
    return walk(running)
  }
  const own = await startDevWorld({ port: 0, log: 'ignore' })
  process.stdout.write(`A private gateway, for this tour only: ${own.gateway}\n\n`)
  return walk(own).finally(own.stop)
}

await tour().then(
  () => process.stdout.write('\nAll of it works.\n'),
  (error: Error) => {
    process.stdout.write(`\nThis step failed: ${error.message}\n`)
    process.exitCode = 1
  }
)
