/**
 * HTTPS_PROXY, HTTP_PROXY, NO_PROXY: which calls go through the operator's proxy, which never do, and what is shown of
 * it.
 */
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { type ProxySettings, proxyFor, proxyName } from '../../../lib/http/proxy.ts'
import { Upstream } from '../../../lib/http/upstream.ts'
import type { SettingsError } from '../../../lib/settings/issues.ts'
import { readSettings } from '../../../lib/settings.ts'
import { makeCertified, makeMerchant } from '../../../sandbox/index.ts'
import { APPID, build } from '../../helper.ts'
import { listen } from '../../listen.ts'
import { ask } from '../../routes/internal/backend.ts'
import { event } from '../events/world.ts'

const WECHAT = 'https://api.weixin.example'
const PASSWORD = 'p@ss/word'
const tls = makeCertified({ altNames: ['api.weixin.example'] })
setDefaultCACertificates([...getCACertificates(), tls.certificatePem])

t.test('proxyFor() knows what is called directly', async (t) => {
  const proxies = { https: 'http://s.example:1', http: 'http://p.example:2' }
  const rows: [origin: string, noProxy: string, direct: boolean][] = [
    ['https://api.weixin.qq.com', '', false],
    ['http://shop.example', '', false],
    ['https://10.0.0.7', '', false],
    ['https://[2001:db8::1]:8443', '', false],
    ['http://127.0.0.1:3000', '', true],
    ['http://127.9.9.9', '', true],
    ['http://0x7f.1', '', true],
    ['http://[::1]', '', true],
    ['http://[::ffff:127.0.0.1]', '', true],
    ['http://0.0.0.0', '', true],
    ['http://169.254.169.254', '', true],
    ['http://[fe80::1]', '', true],
    ['http://[febf::1]', '', true],
    ['http://[fec0::1]', '', false],
    ['http://localhost:3000', '', true],
    ['http://app.localhost', '', true],
    ['http://backend:8080', '', true],
    ['http://backend.:8080', '', true],
    ['https://api.weixin.qq.com', '*', true],
    ['https://api.weixin.qq.com', 'api.weixin.qq.com', true],
    ['https://api.weixin.qq.com', 'API.WEIXIN.QQ.COM.', true],
    ['https://api.weixin.qq.com', 'qq.com', true],
    ['https://api.weixin.qq.com', '.qq.com', true],
    ['https://api.weixin.qq.com', '*.qq.com', true],
    ['https://qq.com', '*.qq.com', false],
    ['https://qq.com', '.qq.com', true],
    ['https://notqq.com', 'qq.com', false],
    ['https://api.weixin.qq.com', 'api.weixin.qq.com:443', true],
    ['https://api.weixin.qq.com', 'api.weixin.qq.com:80', false],
    ['http://shop.example', 'shop.example:80', true],
    ['https://shop.example:8443', '.example:8443', true],
    ['https://shop.example:8443', '*:8443', true],
    ['https://shop.example:8443', '*:443', false],
    ['http://10.0.0.7', '10.0.0.7', true],
    ['http://10.0.0.7', '10.0.0.70', false],
    ['http://10.0.0.7', '10.0.0.0/8', true],
    ['http://11.0.0.7', '10.0.0.0/8', false],
    ['http://shop.example', '10.0.0.0/8', false],
    ['http://10.0.0.7:81', '10.0.0.7:81', true],
    ['http://[2001:db8::1]', '2001:db8::1', true],
    ['http://[2001:db8::1]', '2001:0db8:0::0001', true],
    ['http://[2001:db8::1]', '[2001:db8::1]', true],
    ['http://[2001:db8::1]:81', '[2001:db8::1]:81', true],
    ['http://[2001:db8::1]', '2001:db8::/32', true],
    ['http://shop.example', 'other.example, <local> 10.*,shop.example', true],
    ['http://shop.example', '.,10.0.0.0/99,x/y,:,[]', false]
  ]
  for (const [origin, noProxy, direct] of rows) {
    const settings: ProxySettings = { ...proxies, noProxy: noProxy.split(/[\s,]+/).filter((entry) => entry !== '') }
    const expected = origin.startsWith('https') ? proxies.https : proxies.http
    t.equal(proxyFor(origin, settings), direct ? undefined : expected, `${origin} with ${noProxy}`)
    t.equal(proxyFor(origin, { noProxy: [] }), undefined)
  }
  t.equal(rows.length, 46)
  t.equal(proxyFor(WECHAT, { http: 'http://p.example', noProxy: [] }), undefined, 'each scheme has its own')
  t.equal(proxyName('http://user:secret@p.example:3128/'), 'p.example:3128')
})

t.test('the settings take what every tool takes, and show no value', async (t) => {
  const { env } = await build(t)
  const read = (more: Record<string, string>) => readSettings({ ...env, ...more }).wechat.proxy
  t.same(read({}), { noProxy: [] })
  t.same(read({ HTTPS_PROXY: '', https_proxy: '', NO_PROXY: '' }), { noProxy: [] })
  t.same(read({ HTTPS_PROXY: 'http://u:p%40@p.example:3128', NO_PROXY: ' a.example, .b , ,10.0.0.0/8,<local>' }), {
    https: 'http://u:p%40@p.example:3128/',
    noProxy: ['a.example', '.b', '10.0.0.0/8', '<local>']
  })
  t.same(read({ HTTP_PROXY: 'p.example:3128/', HTTPS_PROXY: 'HTTPS://p.example' }), {
    https: 'https://p.example/',
    http: 'http://p.example:3128/',
    noProxy: []
  })
  const both = { HTTPS_PROXY: 'http://upper.example', https_proxy: 'lower.example', no_proxy: 'x', NO_PROXY: 'y' }
  t.same(read(both), { https: 'http://lower.example/', noProxy: ['x'] }, 'lower case wins')
  const wrong = [
    'socks5://secret.example:1080',
    'ftp://secret.example',
    'http://',
    'http://secret.example/path',
    'http://secret.example?a',
    'http://u:sec ret@p.example',
    'http://u:secret/@p.example',
    'http://u:secret%zz@p.example',
    'http://secret.example:99999',
    'secret example'
  ]
  for (const name of ['HTTPS_PROXY', 'HTTP_PROXY', 'https_proxy', 'http_proxy']) {
    for (const value of wrong) {
      const error = t.throws(() => read({ [name]: value }), { name: 'SettingsError' }, `${name}=${value}`)
      t.match((error as SettingsError).message, new RegExp(`^${name.toUpperCase()} must be http://`))
      t.notMatch((error as SettingsError).message, /secret|sec ret/)
    }
  }
  for (const list of ['a b', 'a,http://secret.example']) {
    const error = t.throws(() => read({ NO_PROXY: list }), { name: 'SettingsError' })
    t.match((error as SettingsError).message, /^NO_PROXY entry \d must be a host/)
  }
})

interface Seen {
  method: string | undefined
  url: string | undefined
  headers: IncomingHttpHeaders
}

interface ProxyServer {
  port: number
  seen: Seen[]
  /** What to answer to the next requests, instead of passing them on; undefined: as a proxy does. */
  refuse(answer: ((socket: Socket) => unknown) | undefined): void
}

/** A proxy for which every https:// address is `tlsPort` of this machine, and every http:// address `plainPort`. */
async function startProxy(t: Test, tlsPort: number, plainPort: number): Promise<ProxyServer> {
  const seen: Seen[] = []
  const sockets = new Set<Socket>()
  let refusal: ((socket: Socket) => unknown) | undefined
  const server = createServer((request, response) => {
    seen.push({ method: request.method, url: request.url, headers: request.headers })
    if (refusal !== undefined) return void refusal(request.socket)
    const { pathname, search } = new URL(request.url ?? '')
    const { method, headers } = request
    const onward = httpRequest({ port: plainPort, method, headers, path: pathname + search }, (answer) => {
      response.writeHead(answer.statusCode ?? 502)
      answer.pipe(response)
    })
    request.pipe(onward)
  })
  server.on('connect', (request, socket: Socket) => {
    seen.push({ method: request.method, url: request.url, headers: request.headers })
    sockets.add(socket)
    socket.on('error', () => undefined)
    if (refusal !== undefined) return void refusal(socket)
    const onward = connect(tlsPort, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    })
    onward.on('error', () => socket.destroy())
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  return {
    port: await listen(t, server),
    seen,
    refuse(answer) {
      refusal = answer
    }
  }
}

/** WeChat behind TLS and a receiver. Only the proxy can reach them. */
async function startWorld(t: Test) {
  const asked: { url: string | undefined; peer: string | undefined; length: string | undefined; bytes: number }[] = []
  const wechat = createTlsServer(
    { cert: tls.certificatePem, key: tls.privateKeyPem, requestCert: true, rejectUnauthorized: false },
    async (request, response) => {
      const { length: bytes } = await buffer(request)
      const { subject } = (request.socket as TLSSocket).getPeerCertificate() ?? {}
      const peer = subject && [subject.CN].flat().join()
      asked.push({ url: request.url, peer, length: request.headers['content-length'], bytes })
      response.end('{"errcode":0,"access_token":"tok","expires_in":7200}')
    }
  )
  const posts: unknown[] = []
  const receiver = createServer(async (request, response) => {
    posts.push([request.url, request.headers.host, (await buffer(request)).length > 0])
    response.writeHead(204).end()
  })
  const proxy = await startProxy(t, await listen(t, wechat), await listen(t, receiver))
  const url = `http://user:${encodeURIComponent(PASSWORD)}@127.0.0.1:${proxy.port}`
  return { asked, posts, proxy, url }
}

const BASIC = `Basic ${Buffer.from(`user:${PASSWORD}`).toString('base64')}`
const wechatUrl = (path: string) => `/internal/apps/${APPID}/wechat${path}`

t.test('calls to WeChat and to the receiver go through the proxy; those to this machine never do', async (t) => {
  const { asked, posts, proxy, url } = await startWorld(t)
  const env = {
    HTTPS_PROXY: url,
    HTTP_PROXY: url,
    WECHAT_API_ORIGIN: WECHAT,
    WEBHOOK_URL: 'http://shop.example/hook?a=1'
  }
  const { app, another, logs, sandbox, backend } = await build(t, { env })
  const answer = await ask(app, { method: 'POST', url: wechatUrl('/x'), payload: Buffer.alloc(1_000_000, 'x') })
  t.equal(answer.statusCode, 200, answer.body)
  t.match(asked, [
    { url: '/cgi-bin/stable_token' },
    { url: '/x?access_token=tok', length: '1000000', bytes: 1_000_000 }
  ])
  t.ok(proxy.seen.length >= 2)
  for (const { method, url: target, headers } of proxy.seen)
    t.same([method, target, headers['proxy-authorization']], ['CONNECT', 'api.weixin.example:443', BASIC])

  proxy.seen.splice(0)
  await app.events.recorder.record(event('pay_1_1'))
  while (posts.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
  t.same(posts, [['/hook?a=1', 'shop.example', true]])
  t.match(proxy.seen, [
    { method: 'POST', url: 'http://shop.example/hook?a=1', headers: { 'proxy-authorization': BASIC } }
  ])

  proxy.seen.splice(0)
  const near = await another({ WECHAT_API_ORIGIN: sandbox.origin, WEBHOOK_URL: backend.webhookUrl })
  t.equal((await ask(near, { url: wechatUrl('/cgi-bin/getcallbackip') })).statusCode, 200)
  const apart = await another({ NO_PROXY: 'weixin.example:443' })
  t.match((await ask(apart, { url: wechatUrl('/x') })).json(), { statusCode: 502, code: 'WECHAT_UNREACHABLE' })
  t.same(
    proxy.seen.filter(({ method }) => method === 'CONNECT'),
    []
  )
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), BASIC.slice(6)]) t.notOk(logs().includes(secret))
})

t.test('a proxy that lets nothing through is named in the log, without its password', async (t) => {
  const { proxy, url } = await startWorld(t)
  const env = { HTTPS_PROXY: url, HTTP_PROXY: url, WECHAT_API_ORIGIN: WECHAT, WECHAT_TIMEOUT_MS: '1500', ROLES: 'api' }
  const { another, logs } = await build(t, { env })
  const says = (status: number) => (socket: Socket) =>
    socket.end(`HTTP/1.1 ${status} x\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n`)
  const rows: [name: string, answer: (socket: Socket) => unknown, code: string, detail?: string][] = [
    ['407', says(407), 'WECHAT_UNREACHABLE', ', which answered 407'],
    ['403', says(403), 'WECHAT_UNREACHABLE', ', which answered 403'],
    ['502', says(502), 'WECHAT_UNREACHABLE', ', which answered 502'],
    ['503', says(503), 'WECHAT_UNREACHABLE', ', which answered 503'],
    ['reset', (socket) => socket.resetAndDestroy(), 'WECHAT_UNREACHABLE', ''],
    ['end', (socket) => socket.end(), 'WECHAT_UNREACHABLE', ''],
    ['a tunnel to nowhere', (socket) => socket.end('HTTP/1.1 200 x\r\n\r\n'), 'WECHAT_UNREACHABLE', ''],
    ['a tunnel to no TLS', (socket) => socket.end('HTTP/1.1 200 x\r\n\r\nno TLS'), 'WECHAT_UNREACHABLE', ''],
    ['silence', () => undefined, 'WECHAT_UNREACHABLE', '']
  ]
  for (const [name, answer, code, detail] of rows) {
    proxy.refuse(answer)
    const before = logs().length
    const app = await another()
    const startedAt = performance.now()
    const got = await ask(app, { url: wechatUrl('/x') })
    t.match(got.json().code, /^WECHAT_(UNREACHABLE|TIMEOUT)$/, name)
    if (name !== 'silence') t.equal(got.json().code, code, name)
    t.ok(performance.now() - startedAt < 10_000, name)
    const lines = logs().slice(before)
    if (name !== 'silence')
      t.ok(lines.includes(`through the proxy 127.0.0.1:${proxy.port}${detail}"`), `${name}: ${lines}`)
    for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), BASIC.slice(6)]) t.notOk(lines.includes(secret))
  }
})

t.test('our certificate is shown to WeChat, not to the proxy', async (t) => {
  const { asked, proxy, url } = await startWorld(t)
  const { certificatePem: cert, privateKeyPem: key } = makeMerchant({ appids: [APPID] }).secrets
  const settings = { https: url, noProxy: [] }
  for (const identity of [undefined, { cert, key }]) {
    const connection = identity && { connect: identity }
    const upstream = new Upstream({ origins: [WECHAT], timeoutMs: 5000, proxy: settings, ...connection })
    await upstream.send({ method: 'GET', path: '/secapi' })
    await upstream.close()
  }
  t.equal(asked.length, 2)
  t.equal(asked[0]?.peer, undefined)
  t.ok(asked[1]?.peer)
  t.equal(proxy.seen.length, 2)
})
