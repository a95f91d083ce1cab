/** The gateway as WeChat and mini-programs reach it: by HTTPS, through the shipped Caddyfile. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { API_KEY, APPID, build, MCHID, type World } from '../helper.ts'
import { DOMAIN, type FrontDoor, withCaddy } from './caddy.ts'
import { converse, openTls } from './wire.ts'

interface Front extends World {
  caddy: FrontDoor
  /** The client address of each request, as the gateway saw it. */
  clients: string[]
}

async function front(t: Test): Promise<Front> {
  const clients: string[] = []
  const world = await build(t, {
    prepare: (app) =>
      app.addHook('onRequest', async ({ ip, routeOptions }) => {
        if (routeOptions.url !== '/readyz') clients.push(ip)
      })
  })
  await world.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = world.app.server.address() as AddressInfo
  const caddy = await withCaddy(t, { upstreams: [`127.0.0.1:${port}`] })
  return { ...world, caddy, clients }
}

const json = { 'content-type': 'application/json' }

/** The exact bytes of a notice as WeChat would post them: the sandbox posts them here instead. */
async function catchNotice({ sandbox }: World, prepayId: string): Promise<{ body: Buffer; transactionId: string }> {
  const catcher = createServer()
  catcher.listen(0, '127.0.0.1')
  await once(catcher, 'listening')
  const caught = once(catcher, 'request').then(async ([request, response]) => {
    const body = await buffer(request)
    response.end()
    return body
  })
  const { port } = catcher.address() as AddressInfo
  const { transactionId } = await sandbox.pay({ prepayId, notifyUrls: [`http://127.0.0.1:${port}/`] })
  catcher.close()
  catcher.closeAllConnections()
  return { body: await caught, transactionId }
}

t.test('a mini-program logs in by HTTPS, and its address is the one that Caddy saw', async (t) => {
  const { caddy, sandbox, clients } = await front(t)
  const { code } = sandbox.login({ appid: APPID })
  const login = await caddy.request('/api/login', {
    method: 'POST',
    headers: { ...json, 'x-forwarded-for': '198.51.100.66', 'x-real-ip': '198.51.100.66' },
    body: JSON.stringify({ code })
  })
  t.equal(login.statusCode, 200)
  t.equal(login.headers['content-type'], 'application/json; charset=utf-8')
  t.equal(login.headers['cache-control'], 'no-store')
  t.match(login.headers['strict-transport-security'], /max-age/)
  const { token, openid } = login.json<{ token: string; openid: string }>()
  const session = await caddy.request('/api/session', { headers: { authorization: `Bearer ${token}` } })
  t.match(session.json(), { openid, appid: APPID, sessionKeyHeld: true })
  t.same(clients, ['127.0.0.1', '127.0.0.1'], 'what the client claims to be counts for nothing')
})

t.test('a payment callback passes Caddy byte for byte and becomes one signed event', async (t) => {
  const world = await front(t)
  const { app, sandbox, caddy, backend } = world
  const { openid } = sandbox.login({ appid: APPID })
  const payload = {
    openid,
    outTradeNo: 'T20261123_0001',
    description: 'tea & cake',
    amount: 100,
    attach: ' ]]> <a>&amp; 茶 '
  }
  const headers = { authorization: `Bearer ${API_KEY}` }
  const order = await app.inject({ method: 'POST', url: '/internal/pay/orders', headers, payload })
  t.equal(order.statusCode, 200)
  const { body, transactionId } = await catchNotice(world, order.json().prepayId)

  const path = `/wechat/pay/v2/${MCHID}/notify`
  const tampered = Buffer.from(body.toString('latin1').replace('>100<', '>101<'), 'latin1')
  const refused = await caddy.request(path, { method: 'POST', headers: { 'content-type': 'text/xml' }, body: tampered })
  t.equal(refused.statusCode, 401)
  t.match(refused.text, /^<xml><return_code><!\[CDATA\[FAIL\]\]>/)

  for (const contentType of ['text/xml', 'application/x-www-form-urlencoded', 'rubbish']) {
    const taken = await caddy.request(path, { method: 'POST', headers: { 'content-type': contentType }, body })
    t.equal(taken.statusCode, 200, contentType)
    t.equal(
      taken.text,
      '<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>'
    )
    t.match(taken.headers['content-type'], /^text\/xml/)
  }
  const event = await backend.waitFor(({ id }) => id === `pay_${MCHID}_${transactionId}`)
  t.match(event.data, {
    attach: payload.attach,
    amount: { total: 100, currency: 'CNY' },
    orderKnown: true,
    outTradeNo: payload.outTradeNo
  })
  t.equal(backend.events().length, 1)
})

t.test('from outside there is no internal door, whatever the spelling', async (t) => {
  const { caddy, app } = await front(t)
  const headers = { ...json, authorization: `Bearer ${API_KEY}` }
  const direct = await app.inject({ method: 'POST', url: '/internal/pay/orders', headers, payload: '{}' })
  t.equal(direct.statusCode, 400, 'the door is there for the backend')
  for (const path of [
    '/internal/pay/orders',
    '//internal/pay/orders',
    '/%69nternal/pay/orders',
    '/api/../internal/pay/orders',
    '/api/%2e%2e/internal/pay/orders',
    '/INTERNAL/pay/orders',
    '/healthz',
    '/readyz',
    '/metrics',
    '/docs'
  ]) {
    const answer = await caddy.request(path, { method: 'POST', headers, body: '{}' })
    t.equal(answer.statusCode, 404, path)
    t.match(answer.json(), { statusCode: 404, code: 'NOT_FOUND', error: 'Not Found', message: String })
    t.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
  }
})

t.test('a request whose client breaks off is never answered with success, nor recorded', async (t) => {
  const { caddy, backend } = await front(t)
  for (const path of [`/wechat/pay/v2/${MCHID}/notify`, `/wechat/push/${APPID}`, '/api/login'])
    for (const [framing, part] of [
      ['Content-Length: 100', '<xml>'],
      ['Transfer-Encoding: chunked', '5\r\n<xml>\r\n'],
      ['Transfer-Encoding: chunked', '64\r\n<xml>']
    ]) {
      const head = `POST ${path} HTTP/1.1\r\nHost: ${DOMAIN}\r\nContent-Type: text/xml\r\n${framing}\r\n\r\n`
      const { status, closed } = await converse(await openTls(caddy), [`${head}${part}`, 'FIN'])
      t.ok(closed && (status === undefined || status >= 400), `${path}, ${framing}: ${status}`)
    }
  t.same(backend.events(), [])
})
