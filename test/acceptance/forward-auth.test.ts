/** Any backend behind the shipped forward_auth lines: the gateway says who calls, and nobody else can. */
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { APPID, build, OTHER_APPID } from '../helper.ts'
import { listenFor } from '../listen.ts'
import { bothApps, claims, login, post } from '../routes/api/client.ts'
import { caddyfileWithExample, withCaddy } from './caddy.ts'

type Named = Record<string, string | string[] | undefined>

/** Names that a backend could take for ours; CGI and WSGI write `_` for `-`. */
const SPOOFED = {
  'x-wx-openid': 'spoofed',
  'X-WX-APPID': 'spoofed',
  'x-wx-unionid': 'spoofed',
  'x-wx-session': 'spoofed',
  'x-wx-admin': 'spoofed',
  x_wx_openid: 'spoofed',
  'x-wx_unionid': 'spoofed',
  'X_Wx-Session': 'spoofed'
}

/** Two apps, the second without unionids, behind Caddy beside a backend that notes who it is told is calling. */
async function front(t: Test) {
  const { sandbox, secrets, another } = await build(t)
  const app = await another(bothApps(t, secrets))
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo

  const reached: Named[] = []
  const backend = await listenFor(t, ({ headers }, response) => {
    reached.push(Object.fromEntries(Object.entries(headers).filter(([name]) => /^x.wx/i.test(name))))
    response.setHeader('content-type', 'text/plain').end('the data')
  })
  const dir = t.testdir({ Caddyfile: caddyfileWithExample() })
  const caddy = await withCaddy(t, {
    upstreams: [`127.0.0.1:${port}`],
    caddyfile: `${dir}/Caddyfile`,
    env: { APP_UPSTREAM: backend.origin.slice('http://'.length) }
  })

  async function user(appid: string) {
    const { code, openid } = sandbox.login({ appid })
    const { token, unionid } = (await login(app, code, appid)).json()
    const headers = { authorization: `Bearer ${token}` }
    const named: Named = { 'x-wx-appid': appid, 'x-wx-openid': openid, 'x-wx-session': String(claims(token).sid) }
    return { headers, token: String(token), named: unionid ? { ...named, 'x-wx-unionid': unionid } : named }
  }
  return { app, caddy, reached, user }
}

t.test('forward_auth lets nobody through without a token of ours, and says why as we do', async (t) => {
  const { caddy, reached, user } = await front(t)
  const { token } = await user(APPID)
  const forged = `${token.slice(0, -8)}AAAAAAAA`
  for (const [authorization, code] of [
    ['', 'TOKEN_MISSING'],
    ['Bearer', 'TOKEN_MISSING'],
    [`Bearer ${forged}`, 'TOKEN_INVALID'],
    [`Basic ${token}`, 'TOKEN_INVALID']
  ]) {
    const answer = await caddy.request('/app/data', {
      headers: { ...SPOOFED, ...(authorization && { authorization }) }
    })
    t.equal(answer.statusCode, 401)
    t.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
    t.equal(answer.headers['cache-control'], 'no-store')
    const requestId = answer.headers['x-request-id']
    t.match(answer.json(), { statusCode: 401, code, error: 'Unauthorized', message: /\w/, requestId })
  }
  t.same(reached, [])
})

t.test('forward_auth tells the backend who is calling, and only that', async (t) => {
  const { caddy, reached, user } = await front(t)
  for (const appid of [APPID, OTHER_APPID]) {
    const { headers, named } = await user(appid)
    for (const method of ['GET', 'POST', 'DELETE'] as const) {
      const answer = await caddy.request('/app/data?x=1', { method, headers: { ...SPOOFED, ...headers } })
      t.same([answer.statusCode, answer.text], [200, 'the data'])
      t.same(reached.at(-1), named, `${method} of ${appid}`)
    }
    t.equal(named['x-wx-unionid'] !== undefined, appid === APPID, 'one of the apps has unionids')
  }
})

t.test('forward_auth refuses a user from the logout on', async (t) => {
  const { app, caddy, reached, user } = await front(t)
  const { headers } = await user(APPID)
  t.equal((await caddy.request('/app/data', { headers })).statusCode, 200)
  t.equal((await post(app, '/api/logout', {}, headers)).statusCode, 204)
  const answer = await caddy.request('/app/data', { headers })
  t.equal(answer.statusCode, 401)
  t.match(answer.json(), { code: 'SESSION_REVOKED' })
  t.equal(reached.length, 1)
})
