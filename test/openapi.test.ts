/**
 * The OpenAPI document: current, valid by somebody else's judgement, complete in its errors and examples; and the door
 * it is behind.
 */
import { readFileSync } from 'node:fs'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import t, { type Test } from 'tap'
import wxgate, { serverOptions } from '../app.ts'
import { ERRORS } from '../lib/errors.ts'
import { finishDocument } from '../lib/openapi/document.ts'
import { describeRoute } from '../lib/openapi/operation.ts'
import { refer } from '../lib/openapi/refer.ts'
import { readSettings } from '../lib/settings.ts'
import { basicPassword } from '../plugins/auth/authorization.ts'
import { openapiFile } from '../tools/generate-openapi.ts'
import { API_KEY, build, type Environment } from './helper.ts'
import { notify, payment, SUCCESS, signed } from './routes/wechat/notices.ts'
import { eventMessage, PLAIN, plainPush, send, succeeds, textMessage } from './routes/wechat/pushes.ts'

// biome-ignore lint/suspicious/noExplicitAny: the document is read as its readers do, by its fields
type Json = any

const file = readFileSync(new URL('../docs/openapi.json', import.meta.url), 'utf8')
const document: Json = JSON.parse(file)

interface Operation {
  door: string
  path: string
  operation: Json
}

const operations: Operation[] = Object.entries<Json>(document.paths).flatMap(([path, item]) =>
  Object.entries<Json>(item).map(([method, operation]) => ({ door: `${method} ${path}`, path, operation }))
)

/** What a reference leads to. */
const resolved = (part: Json): Json =>
  part.$ref === undefined ? part : document.components[part.$ref.split('/')[2]][part.$ref.split('/')[3]]

/** Values of a body's examples, or a parameter's. */
const examplesOf = ({ example, examples = {} }: Json): unknown[] => [
  ...(example === undefined ? [] : [example]),
  ...Object.values<Json>(examples).map((entry) => resolved(entry).value)
]

const bearer = { authorization: `Bearer ${API_KEY}` }

const ajv = new Ajv2020({ strict: false, allErrors: true })
formats.default(ajv)
ajv.addSchema(document, 'openapi.json')

/** What is wrong with a value, by a schema of the document. */
function faults(schema: Json, value: unknown): string {
  const absolute = JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"openapi.json#/'))
  return ajv.validate(absolute, value) ? '' : ajv.errorsText()
}

t.test('docs/openapi.json is what `npm run docs` writes now', async (t) => {
  const written = await openapiFile()
  t.equal(written, file, 'else run `npm run docs`')
  t.equal(await openapiFile(), written, 'and the same whenever it runs')
})

t.test('docs/openapi.json is valid OpenAPI 3.1', async (t) => {
  const validator = new Validator()
  t.same(await validator.validate(JSON.parse(file)), { valid: true })
  t.equal(validator.version, '3.1')
  const { openapi: _, ...broken } = JSON.parse(file)
  t.equal((await new Validator().validate(broken)).valid, false, 'and the validator can say no')
})

/** Clients are generated with functions of these names. */
const VERB_AND_NOUN = new RegExp(
  `^(${[
    ...['check', 'close', 'create', 'download', 'end', 'erase', 'exchange', 'find', 'get', 'introspect', 'list'],
    ...[
      'pass',
      'read',
      'receive',
      'redeliver',
      'refresh',
      'renew',
      'reset',
      'retry',
      'revoke',
      'sign',
      'test',
      'verify'
    ]
  ].join('|')})([A-Z][a-z0-9]+)+$`
)

t.test('every operation has a name of its own, a tag, and says who may call it', async (t) => {
  const names = operations.map(({ operation }) => operation.operationId)
  t.equal(new Set(names).size, names.length)
  for (const { door, operation } of operations) {
    t.match(operation.operationId, VERB_AND_NOUN, door)
    t.ok(operation.tags.length > 0 && operation.summary, door)
    t.ok(Array.isArray(operation.security), `${door} says how callers prove themselves`)
    for (const name of operation.security.flatMap(Object.keys)) t.ok(document.components.securitySchemes[name], name)
    t.notMatch(door, /^head /)
  }
})

t.test('what has a default may be left out, and fixed words are an enum', async (t) => {
  const withDefault = operations.flatMap(({ door, operation }) =>
    (operation.parameters ?? [])
      .filter(({ schema }: Json) => schema.default !== undefined)
      .map(({ name, required }: Json) => ({ door, name, required }))
  )
  t.ok(withDefault.length >= 4)
  for (const { door, name, required } of withDefault) t.equal(required, false, `${door} ${name}`)
  t.notMatch(file.replaceAll(/\s/g, ''), /"anyOf":\[\{"const":/)
  const [state] = document.paths['/internal/events'].get.parameters
  t.same(state.schema.enum, ['waiting', 'delivered', 'failed'])
})

t.test('docs/openapi.json has every door, with the security that its guard asks for', async (t) => {
  const wanted = {
    'post /api/login': [],
    'get /api/session': [{ sessionToken: [] }],
    'post /api/phone': [{ sessionToken: [] }],
    'post /internal/pay/orders': [{ apiKey: ['pay'] }],
    'get /internal/pay/orders/{outTradeNo}': [{ apiKey: ['read'] }, { apiKey: ['pay'] }],
    'get /internal/apps/{appid}/access-token': [{ apiKey: ['wechat'] }],
    'post /wechat/pay/v2/{mchid}/notify': [],
    'post /wechat/pay/v2/{mchid}/refund': [],
    'get /healthz': [],
    'get /readyz': []
  }
  const told = Object.fromEntries(operations.map(({ door, operation }) => [door, operation.security]))
  t.match(told, wanted)
  t.notOk(Object.keys(document.paths).some((path) => path.startsWith('/docs')))
  t.same(Object.keys(document.paths), Object.keys(document.paths).sort(), 'in an order that no machine decides')
})

const isRefusal = (status: string) => /^[45]\d\d$/.test(status)

/** Kinds of bodies that can be shown; what is passed on as it comes has none to show. */
const SHOWN = /^(application\/json|text\/xml)$/

/** Codes that a route declares, of those answers which are for them. */
async function declaredCodes(t: Test): Promise<Map<string, string[]>> {
  const codes = new Map<string, string[]>()
  const { routes } = await routesOf(t, { DOCS: 'on' })
  for (const { method, url, schema } of routes) {
    const path = url.replace(/(?<=.)\/$/, '').replace(/:(\w+)/g, '{$1}')
    const answers = Object.values<Json>((schema as Json)?.response ?? {})
    codes.set(
      `${String(method).toLowerCase()} ${path}`,
      answers.flatMap((answer) => answer['x-codes'] ?? [])
    )
  }
  return codes
}

async function routesOf(t: Test, change: Environment): Promise<{ app: FastifyInstance; routes: RouteOptions[] }> {
  const { env } = await build(t)
  const settings = readSettings({ ...env, ...change })
  const app = fastify({ ...serverOptions(settings), logger: false })
  t.teardown(() => app.close())
  const routes: RouteOptions[] = []
  app.addHook('onRoute', (route) => void routes.push(route))
  await app.register(wxgate, { settings })
  return { app, routes }
}

t.test('every code of every route is there, under its status, with a body in our shape', async (t) => {
  const declared = await declaredCodes(t)
  t.ok((declared.get('post /api/login') ?? []).includes('CODE_USED'))
  for (const { door, operation } of operations) {
    for (const code of declared.get(door) ?? []) {
      const status = ERRORS[code as keyof typeof ERRORS][0]
      const example = operation.responses[status]?.content['application/json'].examples[code]
      t.match(resolved(example ?? {}).value, { code, statusCode: status, requestId: /./ }, `${door} ${code}`)
    }
  }
})

t.test('every refusal has a meaning and examples that fit its schema', async (t) => {
  for (const { door, operation } of operations) {
    t.ok(operation.responses.default.content, `${door} has a form for whatever else is refused`)
    for (const [status, { description, content, headers }] of Object.entries<Json>(operation.responses)) {
      t.ok(description, `${door} ${status} means something`)
      if (!isRefusal(status)) continue
      const media = Object.values<Json>(content)
      t.ok(
        media.every((each) => examplesOf(each).length > 0),
        `${door} ${status} has examples`
      )
      // What WeChat is told has WeChat's form, JSON or not.
      const ours = door.includes(' /wechat/') ? [] : examplesOf(content['application/json'] ?? {})
      t.ok(
        ours.every((body: Json) => body.statusCode === Number(status) && body.error && body.message),
        `${door} ${status} has bodies of that status`
      )
      const comesAgain = ours.length > 0 && ['429', '503'].includes(status)
      t.equal(headers?.['retry-after'] !== undefined, comesAgain, `${door} ${status} says when to come again`)
    }
  }
})

/** Every place of the document with a schema and perhaps examples. */
const places = operations.flatMap(({ door, operation }) => [
  ...(operation.parameters ?? []).map((media: Json) => ({ place: `${door} parameter ${media.name}`, media })),
  ...[operation.requestBody ?? {}, ...Object.values<Json>(operation.responses)].flatMap(({ content = {} }: Json) =>
    Object.entries<Json>(content).map(([type, media]) => ({ place: `${door} ${type}`, media }))
  )
])

/** Every schema below one that has examples of its own. */
function* withExamples(part: Json): Generator<Json> {
  if (typeof part !== 'object' || part === null) return
  if (Array.isArray(part.examples)) yield part
  for (const [keyword, inner] of Object.entries(part)) if (keyword !== 'examples') yield* withExamples(inner)
}

t.test('every example fits its schema', async (t) => {
  const shown = places.flatMap(({ place, media }) => examplesOf(media).map((value) => ({ place, media, value })))
  t.ok(shown.length > 100, 'there are many')
  for (const { place, media, value } of shown) t.equal(faults(media.schema, value), '', place)
  const schemas = [...places.map(({ media }) => media.schema), document.components.schemas]
  for (const schema of schemas.flatMap((part) => [...withExamples(part)]))
    for (const value of schema.examples) t.equal(faults(schema, value), '', JSON.stringify(value))
  t.not(faults({ $ref: '#/components/schemas/Problem' }, { code: 'x' }), '', 'and a wrong one would be found')
})

t.test('what is taken and what is given in JSON or XML has an example', async (t) => {
  for (const { door, operation } of operations) {
    const given = Object.entries<Json>(operation.responses).filter(([status]) => status.startsWith('2'))
    const contents = [operation.requestBody ?? {}, ...given.map(([, answer]) => answer)].map(
      ({ content = {} }) => content
    )
    const shown = contents.flatMap((content) => Object.entries<Json>(content)).filter(([type]) => SHOWN.test(type))
    for (const [type, media] of shown) t.ok(examplesOf(media).length > 0, `${door} ${type}`)
  }
})

t.test('no schema carries what only routes and documents say to each other', async (t) => {
  t.notMatch(file, /"x-codes"|"x-body"|"x-shown"|"x-examples"|"dependencies"|"\$id"/)
  t.match(file, /"dependentRequired"/)
})

t.test('what routes of other kinds become', async (t) => {
  const params = { type: 'object', required: ['appid', '*'], properties: { appid: { type: 'string' }, '*': {} } }
  const route = { guard: 'internal', scope: 'internal', keyScopes: ['wechat'], limited: false }
  const url = '/internal/apps/:appid/wechat/*'
  const rest = describeRoute({ ...route, url, schema: { tags: [], params, response: {} } }, {})
  t.equal(rest.url, '/internal/apps/:appid/wechat/:path')
  t.same(Object.keys((rest.schema.params as Json).properties), ['appid', 'path'])
  t.same((rest.schema.params as Json).required, ['appid', 'path'])

  const body = (schema: object) => ({ required: true, content: { 'application/json': { schema } } })
  const operation = (schema: object) => ({
    requestBody: body(schema),
    responses: { 200: { description: 'Default Response' } }
  })
  const answered = (schema: object) =>
    finishDocument({ components: {}, paths: { '/b': { post: operation(schema) }, '/a': {} } })
  const { paths } = answered({ anyOf: [{ type: 'null' }, { type: 'object', examples: [{}] }] })
  t.same(Object.keys(paths), ['/a', '/b'])
  t.equal(paths['/b']?.post?.responses[200]?.description, 'OK')
  t.match(paths['/b']?.post?.requestBody, { ...body({ type: 'object' }), required: false }, 'null is to be left out')
  t.equal(paths['/b']?.post?.requestBody?.content?.['application/json']?.schema.anyOf, undefined)
  t.same(paths['/b']?.post?.requestBody?.content?.['application/json']?.example, {})
  const either = { anyOf: [{ type: 'string' }, { type: 'object' }] }
  t.match(answered(either).paths['/b']?.post?.requestBody, body(either), 'and nothing else')
})

t.test('refer() names what has an $id, once', async (t) => {
  const shape = (type: string) => ({ $id: 'Same', type: 'object', properties: { a: { type } } })
  const named: Json = {}
  const ref = { $ref: '#/components/schemas/Same' }
  t.same(refer({ items: [shape('string'), { not: shape('string') }] }, named), { items: [ref, { not: ref }] })
  t.same(named, { Same: { type: 'object', properties: { a: { type: 'string' } } } })
  t.throws(() => refer(shape('integer'), named), /two different schemas have the \$id Same/)
  const bare = { 'x-codes': ['INTERNAL'], dependencies: { a: ['b'] } }
  t.same(refer(bare, named), { dependentRequired: { a: ['b'] } })
  t.same(refer({ type: 'object', 'x-shown': { oneOf: [shape('string')] } }, named), { oneOf: [ref] })
})

/** Of an event, by its type, and of what is told of it when it is asked for. */
const eventFaults = (event: Json) =>
  faults(document.webhooks[event.type].post.requestBody.content['application/json'].schema, event)
const recordedFaults = (event: Json) => faults({ $ref: '#/components/schemas/RecordedEvent' }, event)

t.test('events that are recorded fit the schemas of the webhooks', async (t) => {
  const { app, secrets } = await build(t, { env: { ...PLAIN, WEBHOOK_URL: undefined } })
  t.equal((await notify(app, signed(payment({ bank_type: 'OTHERS' }), secrets.apiV2Key))).body, SUCCESS)
  t.equal((await notify(app, signed(payment({ cash_fee: '99' }), secrets.apiV2Key))).body, SUCCESS)
  for (const message of [textMessage(), eventMessage('user_enter_tempsession')])
    succeeds(t, await send(app, plainPush(JSON.stringify(message))))
  const { items } = (await app.inject({ url: '/internal/events', headers: bearer })).json()
  t.equal(items.length, 4)
  for (const { id } of items) {
    const recorded = (await app.inject({ url: `/internal/events/${id}`, headers: bearer })).json()
    t.equal(recordedFaults(recorded), '', id)
    const { type, timestamp, data } = recorded
    t.equal(eventFaults({ type, timestamp, data }), '', id)
    t.not(recordedFaults({ ...recorded, data: { ...data, raw: 'text' } }), '', 'and a wrong one would be found')
  }
})

t.test('events of docs/events.md fit the schemas of the webhooks, and every webhook is among its types', async (t) => {
  const page = readFileSync(new URL('../docs/events.md', import.meta.url), 'utf8')
  const samples: Json[] = [...page.matchAll(/```json\n(.*?)```/gs)].map(([, text = '']) => JSON.parse(text))
  const { refund, ...others } = Object.fromEntries(samples.map((sample) => [sample.type.split('.')[0], sample]))
  t.same(Object.keys(others), ['payment', 'message'])
  const { successTime: _, ...data } = refund.data
  const refunds = ['refund.closed', 'refund.abnormal'].map((type) => ({ ...refund, type, data }))
  for (const event of [refund, ...refunds, ...Object.values(others)]) t.equal(eventFaults(event), '', event.type)
  t.not(eventFaults({ ...refund, data: { ...data, amount: { total: 1 } } }), '')
  for (const type of Object.keys(document.webhooks)) t.match(page, `\`${type}\``)
  const { oneOf, discriminator } = document.components.schemas.Event
  t.same(Object.keys(discriminator.mapping), Object.keys(document.webhooks))
  t.same(
    oneOf.map(({ $ref }: Json) => $ref),
    Object.values(discriminator.mapping)
  )
})

t.test('basicPassword() takes the password of a Basic header, and of nothing else', async (t) => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
  t.equal(basicPassword('Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=='), 'open sesame', 'as RFC 7617 has it')
  t.equal(basicPassword(basic(':a:b')), 'a:b')
  t.equal(basicPassword(basic('ops:ключ')), 'ключ')
  t.equal(basicPassword(basic('ops:')), '')
  for (const other of [
    '',
    'Basic',
    'Basic ',
    basic('no colon'),
    'Basic ops:key',
    'Bearer b3BzOmtleQ==',
    'Digest b3BzOmtleQ=='
  ])
    t.equal(basicPassword(other), undefined, other)
})

const basic = (password: string, user = 'ops') => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
})

const PAGES = [
  '/docs',
  '/docs/',
  '/docs/json',
  '/docs/yaml',
  '/docs/static/swagger-ui-bundle.js',
  '/docs/static/index.html'
]

t.test('/docs is for holders of an API key, who may be a browser', async (t) => {
  const { another } = await build(t)
  const app = await another({ DOCS: 'on' })
  const refusals = [
    { headers: {}, code: 'TOKEN_MISSING' },
    { headers: { authorization: 'Bearer' }, code: 'TOKEN_MISSING' },
    { headers: { authorization: `Bearer ${API_KEY}x` }, code: 'TOKEN_INVALID' },
    { headers: { authorization: API_KEY }, code: 'TOKEN_INVALID' },
    { headers: basic(`${API_KEY}x`), code: 'TOKEN_INVALID' },
    { headers: basic('ops', API_KEY), code: 'TOKEN_INVALID' },
    { headers: basic(''), code: 'TOKEN_INVALID' }
  ]
  for (const url of PAGES) {
    for (const { headers, code } of refusals) {
      const refused = await app.inject({ url, headers })
      t.match(refused.json(), { statusCode: 401, code, requestId: /./ }, `${url} ${code}`)
      t.equal(refused.headers['www-authenticate'], 'Basic realm="wxgate docs"')
    }
    for (const headers of [bearer, basic(API_KEY), basic(API_KEY, '')]) {
      const shown = await app.inject({ url, headers })
      t.ok([200, 302].includes(shown.statusCode), `${url} ${shown.statusCode}`)
      t.equal(shown.headers['www-authenticate'], undefined)
    }
    t.equal((await app.inject({ method: 'HEAD', url })).statusCode, 401, `HEAD ${url}`)
  }
  t.equal((await app.inject({ url: '/docs/nothing', headers: bearer })).json().code, 'NOT_FOUND')
  t.equal((await app.inject({ url: '/docs/static/nothing.js', headers: bearer })).json().code, 'NOT_FOUND')
})

t.test('Basic opens /docs alone', async (t) => {
  const { another } = await build(t)
  const app = await another({ DOCS: 'on' })
  const answer = await app.inject({ method: 'POST', url: '/internal/pay/orders', headers: basic(API_KEY), payload: {} })
  t.match(answer.json(), { statusCode: 401, code: 'TOKEN_INVALID' })
  t.equal(answer.headers['www-authenticate'], 'Bearer')
})

t.test('/docs is not there without DOCS, without keys, and where no calls are answered', async (t) => {
  const { app: off, another } = await build(t)
  const keyless = await another({ DOCS: 'on', INTERNAL_API_KEYS: undefined })
  const worker = await another({ DOCS: 'on', ROLES: 'worker' })
  for (const app of [off, keyless, worker]) {
    for (const url of PAGES) {
      const answer = await app.inject({ url, headers: bearer })
      t.match(answer.json(), { statusCode: 404, code: 'NOT_FOUND' }, url)
      t.equal(answer.headers['www-authenticate'], undefined)
    }
  }
})

t.test('every route under /docs has its guard, and none is in the document', async (t) => {
  const { app, routes } = await routesOf(t, { DOCS: 'on' })
  const ours = routes.filter(({ url }) => url.startsWith('/docs'))
  t.ok(ours.length >= 5)
  for (const { url, config } of ours) t.equal(config?.auth, 'docs', url)
  t.throws(() => app.get('/forgotten', async () => 'open to all'), /does not say in config\.auth/)
})

t.test('/docs/json is docs/openapi.json with the address of this service', async (t) => {
  const { another } = await build(t)
  const app = await another({ DOCS: 'on' })
  const served = await app.inject({ url: '/docs/json', headers: bearer })
  t.match(served.headers, { 'content-type': /^application\/json/, 'cache-control': 'private, no-cache' })
  const { servers, ...rest } = served.json()
  t.same(
    servers.map(({ url }: Json) => url),
    ['https://wx.example.test', '/']
  )
  const { servers: _, ...kept } = document
  t.same(rest, kept)
  const inside = operations.filter(({ operation }) => operation.servers !== undefined).map(({ path }) => path)
  t.ok(inside.includes('/internal/pay/orders') && inside.includes('/readyz'))
  t.notOk(
    inside.some((path) => /^\/(api|wechat|\.well-known)\//.test(path)),
    'what Caddy lets through is public'
  )
  t.match((await app.inject({ url: '/docs/yaml', headers: bearer })).body, /^openapi: 3\.1\.0$/m)
})

t.test('/docs loads nothing from elsewhere, and is not told to use https', async (t) => {
  const { another } = await build(t)
  const app = await another({ DOCS: 'on' })
  for (const url of ['/docs', '/docs/']) {
    const { body, headers } = await app.inject({ url, headers: bearer })
    t.match(headers['content-type'], /^text\/html/)
    const policy = String(headers['content-security-policy'])
    t.match(policy, /default-src 'none';.*script-src 'self';/)
    t.notMatch(policy, /upgrade-insecure-requests|https:|validator\.swagger\.io|'unsafe-eval'|script-src [^;]*unsafe/)
    t.notMatch(body, /https?:|["'(]\/\//, 'no host but this one')
    for (const [, link = ''] of body.matchAll(/(?:src|href)="([^"]*)"/g)) {
      const target = new URL(link, `http://wxgate${url}`).pathname
      t.equal((await app.inject({ url: target, headers: bearer })).statusCode, 200, target)
    }
  }
  const start = await app.inject({ url: '/docs/static/swagger-initializer.js', headers: bearer })
  t.notMatch(start.body, /https?:\/\/(?!stackoverflow)/)
  t.match((await app.inject('/api/test')).headers['content-security-policy'], /^default-src 'none'/)
})
