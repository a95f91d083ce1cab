/** `npm run sandbox`: started as a program, used over HTTP alone, ended by a signal. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Json, sdk } from './pay-client.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'sandbox', 'main.ts')

/** What it prints is one JSON text, complete when it listens. */
async function start(t: Test, args: string[]): Promise<{ printed: Json; end(): Promise<number | null> }> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  while (!text.endsWith('}\n')) await once(child.stdout, 'data')
  const end = async () => {
    child.kill('SIGTERM')
    const [status] = await once(child, 'exit')
    return status
  }
  return { printed: JSON.parse(text), end }
}

t.test('it prints throw-away accounts that an SDK can use', async (t) => {
  const { printed, end } = await start(t, ['--port', '0', '--tls-port', '0'])
  const { origin, tlsOrigin, tlsCertificatePem, app, merchant } = printed
  t.match({ origin, tlsOrigin }, { origin: /^http:/, tlsOrigin: /^https:/ })
  t.match(tlsCertificatePem, /^-----BEGIN CERTIFICATE-----/)
  const pay = new sdk.Wechatpay({
    mchid: merchant.mchid,
    serial: merchant.certSerial,
    privateKey: merchant.privateKeyPem,
    certs: { [merchant.publicKeyId]: merchant.publicKeyPem },
    baseURL: origin,
    headers: { 'Wechatpay-Serial': merchant.publicKeyId }
  })
  const order = { description: 'x', out_trade_no: 'main-01', notify_url: 'http://127.0.0.1/', amount: { total: 1 } }
  const identities = { appid: app.appid, mchid: merchant.mchid, payer: { openid: 'o1' } }
  t.match((await pay.v3.pay.transactions.jsapi.post({ ...identities, ...order })).data, { prepay_id: /^wx/ })
  t.equal(await end(), 0)
})

t.test('it takes accounts from a file, and then prints no secrets', async (t) => {
  const file = join(t.testdir({}), 'accounts.json')
  const app = { appid: 'wx0000000000000001', secret: 'aSecretOfTheFile' }
  writeFileSync(file, JSON.stringify({ apps: [app] }))
  const { printed, end } = await start(t, ['--port', '0', '--accounts', file])
  t.same(Object.keys(printed), ['origin'])
  const answer = await fetch(`${printed.origin}/sandbox/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ appid: app.appid })
  })
  t.match(await answer.json(), { code: /^0\w{31}$/ })
  t.equal(await end(), 0)
})
