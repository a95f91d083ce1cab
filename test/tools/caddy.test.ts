// The shipped Caddyfile, run by a real Caddy: what only Caddy has. What every front has is in fronts.test.ts.
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startCaddy } from '../../tools/caddy.ts'
import { need } from '../../tools/need.ts'
import { CADDYFILE, caddyfileWithExample, DOMAIN, withCaddy } from '../acceptance/caddy.ts'
import { startEcho } from '../acceptance/echo.ts'

t.test('a service that is away gives 503 with Retry-After once the health check knows', async (t) => {
  const echo = await startEcho(t)
  const caddy = await withCaddy(t, { upstreams: [echo.address] })
  await echo.app.close()
  const deadline = Date.now() + 10_000
  let answer = await caddy.request('/api/login', { method: 'POST', body: 'body' })
  while (answer.statusCode !== 503 && Date.now() < deadline) answer = await caddy.request('/api/login')
  t.match(answer.headers['retry-after'], /^\d+$/)
  t.match(answer.json(), { statusCode: 503, code: 'SERVICE_UNAVAILABLE', error: 'Service Unavailable' })
})

t.test('caddy validate', async (t) => {
  const home = t.testdir()
  const base = { PATH: process.env.PATH, HOME: home, XDG_CONFIG_HOME: home, XDG_DATA_HOME: home }
  const validate = (file: string, env: Record<string, string>) =>
    spawnSync(need('caddy'), ['validate', '--config', file, '--adapter', 'caddyfile'], { env: { ...base, ...env } })
      .status
  const example = join(home, 'example')
  writeFileSync(example, caddyfileWithExample())

  const several = { WXGATE_UPSTREAMS: '127.0.0.1:3000 127.0.0.1:3001', CADDY_GLOBAL_OPTIONS: 'email ops@example.com' }
  t.equal(validate(CADDYFILE, { DOMAIN: 'wx.example.com' }), 0, 'accepts the least settings')
  t.equal(validate(CADDYFILE, { DOMAIN: 'a.example.com, b.example.com', ...several }), 0, 'accepts all settings')
  t.equal(validate(example, { DOMAIN: 'wx.example.com' }), 0, 'accepts the example')
  t.not(validate(CADDYFILE, {}), 0, 'refuses a missing DOMAIN')
  t.equal(
    execFileSync(need('caddy'), ['fmt', CADDYFILE], { encoding: 'utf8' }),
    readFileSync(CADDYFILE, 'utf8'),
    'is formatted'
  )
})

t.test('startCaddy() tells what Caddy said when it does not come up', async (t) => {
  const caddyfile = join(t.testdir({ Caddyfile: 'wx.example.test {\n\tno_such_directive\n}\n' }), 'Caddyfile')
  await t.rejects(startCaddy({ caddyfile, env: { DOMAIN } }), /unrecognized directive: no_such_directive/)
})
