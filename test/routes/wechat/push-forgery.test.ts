/** Ten thousand variations of one push: every one without a right signature is refused, always with the same answer. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { build } from '../../helper.ts'
import { faceOf } from './faces.ts'
import {
  eventsIn,
  PLAIN,
  type Push,
  plainPush,
  type Query,
  SAFE,
  safePush,
  send,
  succeeds,
  textMessage,
  xml
} from './pushes.ts'

type Variation = { query: string; body: Buffer }

const QUIET = { LOG_LEVEL: 'error' }
const SIGNED = ['msg_signature', 'timestamp', 'nonce', 'encrypt_type'] as const

/** Every byte percent-encoded, so that a parameter may hold bytes that are no text. */
const percent = (bytes: Buffer) => bytes.toString('hex').replace(/../g, '%$&')

const search = (entries: [string, string | Buffer][]): string =>
  entries.map(([name, value]) => `${name}=${percent(Buffer.from(value))}`).join('&')

/** `bytes` with each single bit turned over, one at a time. */
function* flips(bytes: Buffer): Generator<Buffer> {
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    yield changed
  }
}

/** `text` with each two different neighbours swapped, then turned by one to its length. */
function* disorders(text: string): Generator<string> {
  for (let at = 1; at < text.length; at++) {
    const [a, b] = [text[at - 1], text[at]]
    if (a !== b) yield `${text.slice(0, at - 1)}${b}${a}${text.slice(at + 1)}`
    yield text.slice(at) + text.slice(0, at)
  }
}

/** All orders of some values. */
function permutations<T>(values: T[]): T[][] {
  if (values.length < 2) return [values]
  return values.flatMap((value, index) =>
    permutations(values.filter((_, other) => other !== index)).map((rest) => [value, ...rest])
  )
}

/** Some bits turned over at once, the same in each run. */
function* scatters(bytes: Buffer): Generator<Buffer> {
  let state = 20260101
  const next = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  for (;;) {
    const changed = Buffer.from(bytes)
    for (let count = 2 + next(30); count > 0; count--) {
      const bit = next(bytes.length * 8)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    }
    if (!changed.equals(bytes)) yield changed
  }
}

const encryptedIn = (body: string): string => /[A-Za-z0-9+/=]{100,}/.exec(body)?.[0] ?? ''

/**
 * What the signature of a safe push covers: changed bits, order, missing and repeated parts, and parts that move
 * between them.
 */
function* variationsOf({ query, body }: Push): Generator<Variation> {
  const encrypted = encryptedIn(body)
  const [before = '', after = ''] = body.split(encrypted)
  const within = (some: string | Buffer) => Buffer.concat([Buffer.from(before), Buffer.from(some), Buffer.from(after)])
  const whole = Buffer.from(body)
  const entries = Object.entries(query)
  const set = (change: Record<string, string | Buffer>) => search(Object.entries({ ...query, ...change }))
  const given = (name: string) => query[name] ?? ''

  for (const name of SIGNED) {
    for (const value of flips(Buffer.from(given(name)))) yield { query: set({ [name]: value }), body: whole }
    for (const value of disorders(given(name))) yield { query: set({ [name]: value }), body: whole }
    for (let end = 0; end < given(name).length; end++)
      yield { query: set({ [name]: given(name).slice(0, end) }), body: whole }
  }
  for (const value of flips(Buffer.from(encrypted))) yield { query: set({}), body: within(value) }
  for (const value of disorders(encrypted)) yield { query: set({}), body: within(value) }
  for (let end = 0; end < whole.length; end++) yield { query: set({}), body: whole.subarray(0, end) }
  for (const blocks of permutations((encrypted.match(/.{64}/gs) ?? []).slice(0, 4)).slice(1))
    yield { query: set({}), body: within(blocks.join('') + encrypted.slice(blocks.join('').length)) }

  const names = ['signature', ...SIGNED.slice(0, 3), 'openid']
  for (const order of permutations(names).filter((order) =>
    SIGNED.slice(0, 3).some((name, at) => order[at + 1] !== name)
  ))
    yield { query: set(Object.fromEntries(names.map((name, at) => [name, given(order[at] ?? '')]))), body: whole }

  for (let mask = 1; mask < 2 ** SIGNED.length; mask++) {
    const gone = new Set<string>(SIGNED.filter((_, index) => mask & (1 << index)))
    yield { query: search(entries.filter(([name]) => !gone.has(name))), body: whole }
    yield { query: search(entries.map(([name, value]) => [name, gone.has(name) ? '' : value])), body: whole }
  }
  for (const [name, value] of entries) {
    for (const more of [value, '', 'x', given('nonce')]) {
      yield { query: search([...entries, [name, more]]), body: whole }
      yield { query: search([[name, more], ...entries]), body: whole }
    }
  }
  const [timestamp, nonce] = [given('timestamp'), given('nonce')]
  for (let at = 1; at < 9; at++) {
    yield { query: set({ timestamp: timestamp + nonce.slice(0, at), nonce: nonce.slice(at) }), body: whole }
    yield { query: set({ timestamp: timestamp.slice(at), nonce: nonce + timestamp.slice(0, at) }), body: whole }
    yield { query: set({ timestamp: timestamp.slice(0, -at), nonce: timestamp.slice(-at) + nonce }), body: whole }
    yield { query: set({ nonce: nonce + encrypted.slice(0, at) }), body: within(encrypted.slice(at)) }
    yield { query: set({ nonce: nonce.slice(0, -at) }), body: within(nonce.slice(-at) + encrypted) }
    yield { query: set({ timestamp: timestamp.slice(0, -at) }), body: within(timestamp.slice(-at) + encrypted) }
  }
  for (const value of scatters(Buffer.from(encrypted))) yield { query: set({}), body: within(value) }
}

/** Sends `count` of the variations, and returns every different answer. */
async function facesOf(app: FastifyInstance, variations: Iterable<Variation>, count: number): Promise<string[]> {
  const faces = new Set<string>()
  let left = count
  for (const variation of variations) {
    faces.add(faceOf(await send(app, variation)))
    left -= 1
    if (left === 0) break
  }
  if (left > 0) throw new Error(`${left} variations too few`)
  return [...faces]
}

function oneRefusal(t: Test, faces: string[]): void {
  t.equal(faces.length, 1, faces.join('\n'))
  t.match(faces[0], '[403,"refused",')
}

const message = textMessage({ Content: 'a message of the usual length, that fills some blocks of its own' })

for (const [format, text] of Object.entries({ JSON: JSON.stringify(message), XML: xml(message) })) {
  t.test(`ten thousand variations of one ${format} push are refused with one face`, async (t) => {
    const { app } = await build(t, { env: { ...SAFE, ...QUIET } })
    const push = safePush(text)
    oneRefusal(t, await facesOf(app, variationsOf(push), 10_000))
    t.same(await eventsIn(app), [])
    succeeds(t, await send(app, push))
    oneRefusal(t, await facesOf(app, variationsOf(push), 500))
    t.equal((await eventsIn(app)).length, 1)
  })
}

t.test('what the signature does not cover changes nothing of what is recorded', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const push = safePush(JSON.stringify(message))
  const { query } = push
  const changes: Query[] = [{ openid: 'oForged' }, { signature: 'forged' }, { more: 'x' }]
  const beside = push.body.replace('{', '{"FromUserName":"oForged","MsgId":1,')
  succeeds(t, await send(app, { query, body: beside }))
  for (const change of changes) succeeds(t, await send(app, { query: { ...query, ...change }, body: push.body }))
  succeeds(t, await send(app, { query: String(new URLSearchParams(Object.entries(query).reverse())), body: push.body }))
  t.same(
    (await eventsIn(app)).map(({ data }) => data.raw),
    [message]
  )
})

t.test('variations of a plain push are refused with the same face, once it came also other bodies', async (t) => {
  const { app } = await build(t, { env: { ...PLAIN, ...QUIET } })
  const push = plainPush(JSON.stringify(message))
  const { query, body } = push
  const bodies = function* () {
    const [before = '', after = ''] = body.split(String(message.Content))
    for (const value of flips(Buffer.from(String(message.Content))))
      yield {
        query: search(Object.entries(query)),
        body: Buffer.concat([Buffer.from(before), value, Buffer.from(after)])
      }
  }
  const queries = function* () {
    for (const name of ['signature', 'timestamp', 'nonce'])
      for (const value of flips(Buffer.from(query[name] ?? '')))
        yield { query: search(Object.entries({ ...query, [name]: value })), body: Buffer.from(body) }
    for (const [name, value] of Object.entries(query))
      yield { query: search([...Object.entries(query), [name, value]]), body: Buffer.from(body) }
  }
  oneRefusal(t, await facesOf(app, queries(), 468))
  t.same(await eventsIn(app), [])
  succeeds(t, await send(app, push))
  oneRefusal(t, await facesOf(app, [...queries(), ...bodies()], 468 + 512))
  t.equal((await eventsIn(app)).length, 1)
})
