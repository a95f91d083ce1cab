// The shipped nginx.conf, run by a real nginx: what only nginx has. What every front has is in fronts.test.ts.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { DOMAIN } from '../acceptance/caddy.ts'
import { startEcho } from '../acceptance/echo.ts'
import { FRONTS } from '../acceptance/fronts.ts'
import { NGINX_CONF, startNginx } from '../acceptance/nginx.ts'
import { converse, openPlain, openTls } from '../acceptance/wire.ts'

const nginx = FRONTS.find(({ name }) => name.includes('nginx'))

t.test('what nginx itself refuses has the form of our errors', async (t) => {
  const echo = await startEcho(t)
  const door = await nginx?.start(t, { upstreams: [echo.address] })
  if (door === undefined) throw new Error('no nginx among the fronts')
  const lines = `Host: ${DOMAIN}\r\nConnection: close\r\n`
  for (const [name, request, status] of [
    ['no HTTP', 'BLA\r\n\r\n', 400],
    ['no host', 'GET /api/test HTTP/1.1\r\n\r\n', 400],
    ['two lengths', `POST /api/test HTTP/1.1\r\n${lines}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`, 400],
    ['a long address', `GET /api/${'x'.repeat(40_000)} HTTP/1.1\r\n${lines}\r\n`, 414],
    ['a long header', `GET /api/test HTTP/1.1\r\n${lines}X: ${'x'.repeat(40_000)}\r\n\r\n`, 431],
    ['a method that is never served', `TRACE /api/test HTTP/1.1\r\n${lines}\r\n`, 405],
    ['an encoding that it does not know', `POST /api/test HTTP/1.1\r\n${lines}Transfer-Encoding: gzip\r\n\r\n`, 501]
  ] as const) {
    const answer = await converse(await openTls(door), [request])
    t.equal(answer.status, status, name)
    t.match(
      JSON.parse(answer.body),
      { statusCode: status, code: 'HTTP_ERROR', error: /./, message: /./, requestId: /./ },
      name
    )
    t.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
  }
  const plain = await converse(await openPlain({ ...door, httpPort: door.httpsPort }), [
    'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
  ])
  t.match(JSON.parse(plain.body), { statusCode: 400, code: 'HTTP_ERROR' }, 'no TLS')
  t.equal(echo.seen.length, 0)
})

t.test('startNginx() tells what nginx said when it does not come up', async (t) => {
  const text = readFileSync(NGINX_CONF, 'utf8').replace('server_tokens off;', 'no_such_directive;')
  await t.rejects(startNginx({ text, domain: DOMAIN }), /unknown directive "no_such_directive"/)
})
