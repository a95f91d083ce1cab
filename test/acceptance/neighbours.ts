/**
 * The servers around the gateways of a test (WeChat's sandbox and the merchant's backend), and the settings for both.
 */
import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { startBackend } from '../../sandbox/backend.ts'
import { startSandbox } from '../../sandbox/index.ts'
import { APPID, type Environment, MCHID } from '../helper.ts'

/** One app, and one merchant of APIv2. Only `REDIS_URL` is missing in the settings. Both servers end with the test. */
export async function startNeighbours(t: Pick<Test, 'teardown'>) {
  const [secret, apiV2Key] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')]
  const webhookSecret = `whsec_${randomBytes(32).toString('base64')}`
  const sandbox = await startSandbox({
    apps: [{ appid: APPID, secret }],
    merchants: [{ mchid: MCHID, apiV2Key, appids: [APPID] }]
  })
  const backend = await startBackend({ secret: webhookSecret })
  t.teardown(() => Promise.all([sandbox.close(), backend.close()]))
  const settings: Environment = {
    LOG_LEVEL: 'fatal',
    PUBLIC_URL: 'https://wx.example.test',
    ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    JWT_SECRET: randomBytes(32).toString('hex'),
    WECHAT_APPID: APPID,
    WECHAT_SECRET: secret,
    WECHAT_PAY_MCHID: MCHID,
    WECHAT_PAY_API_V2_KEY: apiV2Key,
    WECHAT_API_ORIGIN: sandbox.origin,
    WECHAT_PAY_ORIGIN: sandbox.origin,
    WEBHOOK_URL: backend.webhookUrl,
    WEBHOOK_SECRET: webhookSecret
  }
  return { sandbox, backend, apiV2Key, settings }
}
