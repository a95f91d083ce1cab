/** The merchant's stand-in, and the law that keeps the sandbox independent. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { Webhook } from 'standardwebhooks'
import t, { type Test } from 'tap'
import { type Backend, startBackend } from '../../sandbox/backend.ts'
import { postJson, readJson } from './client.ts'

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`

async function build(t: Test): Promise<Backend> {
  const backend = await startBackend({ secret: SECRET })
  t.teardown(() => backend.close())
  return backend
}

interface Sent {
  id?: string
  body?: string
  secret?: string
  at?: Date
}

/** The status that one delivery got. */
async function send(
  backend: Backend,
  type: string,
  { id = 'evt_1', body, secret = SECRET, at = new Date() }: Sent = {}
): Promise<number> {
  const payload = JSON.stringify({ type, timestamp: at.toISOString(), data: { a: 1 } })
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body === undefined ? payload : body.trim())
  }
  return (await fetch(backend.webhookUrl, { method: 'POST', headers, body: body ?? payload })).status
}

t.test('startBackend() keeps authentic events, once each', async (t) => {
  const backend = await build(t)
  t.equal(await send(backend, 'payment.succeeded'), 204)
  t.equal(await send(backend, 'payment.succeeded'), 204)
  t.equal(await send(backend, 'message.received', { id: 'evt_2' }), 204)
  t.match(backend.events('payment.succeeded'), [{ id: 'evt_1', data: { a: 1 }, attempts: 2, accepted: true }])
  t.match(await readJson(await fetch(`${backend.origin}/events?type=message.received`)), [{ id: 'evt_2', attempts: 1 }])
  t.equal(backend.events().length, 2)
  await fetch(`${backend.origin}/events`, { method: 'DELETE' })
  t.same(backend.events(), [])
})

t.test('startBackend() refuses what is not authentic', async (t) => {
  const backend = await build(t)
  t.equal(await send(backend, 'x', { secret: `whsec_${Buffer.alloc(32, 8).toString('base64')}` }), 401)
  t.equal(await send(backend, 'x', { at: new Date(Date.now() - 360_000) }), 401, 'too old')
  t.equal(await send(backend, 'x', { body: '{"type":"x","timestamp":"now","data":{}} ' }), 401, 'the raw bytes count')
  t.equal((await fetch(backend.webhookUrl, { method: 'POST', body: '{}' })).status, 401)
  t.equal(await send(backend, 'x', { body: '{"type":"x"}' }), 422, 'authentic, but no event')
  t.equal(backend.refusedCount(), 4)
  t.same(backend.events(), [])
  await t.rejects(startBackend({ secret: '' }))
})

t.test('respond() makes the next deliveries fail', async (t) => {
  const backend = await build(t)
  t.same(await postJson(`${backend.origin}/respond`, { status: 503, times: 2 }), { status: 503, times: 2 })
  t.equal(await send(backend, 'x'), 503)
  t.match(backend.events(), [{ attempts: 1, accepted: false }])
  t.equal(await send(backend, 'x'), 503)
  t.equal(await send(backend, 'x'), 204)
  t.match(backend.events(), [{ attempts: 3, accepted: true }])
  backend.respond(500, 0)
  t.same([await send(backend, 'x'), await send(backend, 'x')], [500, 500])
  backend.respond(200)
  t.same([await send(backend, 'x'), await send(backend, 'x')], [200, 204])
})

t.test('waitFor() finds what is here, what comes, and gives up', async (t) => {
  const backend = await build(t)
  const second = backend.waitFor((event) => event.attempts === 2)
  await send(backend, 'x')
  t.match(await backend.waitFor((event) => event.type === 'x'), { attempts: 1 })
  await send(backend, 'x')
  t.match(await second, { id: 'evt_1', attempts: 2 })
  await t.rejects(
    backend.waitFor((event) => event.type === 'y', 1),
    { message: 'no such event within 1 ms; here are: x evt_1 (2)' }
  )
  const broken = backend.waitFor((event) => {
    if (event.attempts === 3) throw new Error('from the predicate')
    return false
  })
  const failed = t.rejects(broken, { message: 'from the predicate' })
  t.equal(await send(backend, 'x'), 204)
  await failed
  const late = t.rejects(
    backend.waitFor((event) => event.type === 'y'),
    { message: /^no such event before the backend was closed/ }
  )
  await backend.close()
  await late
})

t.test('no file of the sandbox imports from the gateway', async (t) => {
  const folder = resolve(import.meta.dirname, '../../sandbox')
  const files = globSync('**/*.ts', { cwd: folder })
  t.ok(files.length > 30)
  for (const file of files) {
    const path = resolve(folder, file)
    const source = readFileSync(path, 'utf8')
    const found = source.matchAll(/^(?:import|export)\b[^'"]*?\bfrom\s+'([^']+)'|\bimport\s*\(?\s*'([^']+)'/gm)
    const specifiers = [...found].map(([, named, bare]) => named ?? bare ?? '')
    const foreign = specifiers.filter((specifier) =>
      specifier.startsWith('.')
        ? !resolve(dirname(path), specifier).startsWith(`${folder}/`)
        : !/^(node:|@sinclair\/typebox|fastify$|undici$|standardwebhooks$)/.test(specifier)
    )
    t.same(foreign, [], file)
  }
})
