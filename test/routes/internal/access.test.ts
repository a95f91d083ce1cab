/** Who may order, and for which merchant and app. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { API_KEY, APPID, build, MCHID, OTHER_APPID } from '../../helper.ts'
import { order, refused } from './order.ts'

t.test('/internal is for holders of an API key, and not there at all without keys', async (t) => {
  const { app, another } = await build(t)
  refused(t, await order(app, {}, {}), 401, 'TOKEN_MISSING')
  const almost = [
    `Bearer ${API_KEY.slice(0, -1)}`,
    `Bearer ${API_KEY}x`,
    `Bearer ${API_KEY.toUpperCase()}`,
    'Bearer x',
    `Basic ${API_KEY}`,
    API_KEY
  ]
  for (const authorization of almost) refused(t, await order(app, {}, { authorization }), 401, 'TOKEN_INVALID')
  const keyless = await another({ INTERNAL_API_KEYS: undefined })
  for (const headers of [{}, { authorization: 'Bearer x' }, { authorization: 'Bearer undefined' }])
    refused(t, await order(keyless, {}, headers as Record<string, string>), 404, 'NOT_FOUND')
  const many = await another({ INTERNAL_API_KEYS: `${'k'.repeat(32)},${API_KEY}` })
  t.equal((await order(many)).statusCode, 200)
  t.equal((await order(many, {}, { authorization: `Bearer ${'k'.repeat(32)}` })).statusCode, 200)
})

t.test('POST orders picks merchant and app by what was said, and only where one fits', async (t) => {
  const { another, sandbox, secrets } = await build(t)
  const folder = mkdtempSync(join(tmpdir(), 'wxgate-orders-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'wechat.json')
  const apps = [
    { appid: APPID, secret: secrets.appSecret },
    { appid: OTHER_APPID, secret: secrets.otherAppSecret }
  ]
  const apiV2Key = secrets.apiV2Key
  const merchants = [
    { mchid: MCHID, apiV2Key, appids: [APPID] },
    { mchid: '1900000110', apiV2Key, appids: [APPID, OTHER_APPID] }
  ]
  writeFileSync(file, JSON.stringify({ apps, merchants }))
  const gone = Object.fromEntries(
    ['APPID', 'SECRET', 'PAY_MCHID', 'PAY_API_V2_KEY'].map((name) => [`WECHAT_${name}`, undefined])
  )
  const app = await another({ ...gone, WECHAT_CONFIG_FILE: file })
  const wrong = [
    {},
    { appid: APPID },
    { mchid: '1900000110' },
    { mchid: MCHID, appid: OTHER_APPID },
    { mchid: '1900000111' },
    { appid: `wx${'0'.repeat(16)}` }
  ]
  for (const choice of wrong) refused(t, await order(app, choice), 400, 'APP_UNKNOWN')
  t.same(sandbox.calls(), [])
  t.equal((await order(app, { mchid: MCHID })).statusCode, 200)
  t.match(sandbox.calls(), [{ mchid: MCHID, appid: APPID }])
  await order(app, { appid: OTHER_APPID })
  t.match(sandbox.calls().at(-1), { errcode: '商户号mch_id不存在' }, 'the only merchant of that app was asked')
})
