/** A gateway with merchants that have the keys of both APIs, and the sandbox that they are known to. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FastifyInstance, InjectOptions } from 'fastify'
import type { Test } from 'tap'
import { type MerchantSecrets, makeMerchant, type Sandbox, startSandbox } from '../../../sandbox/index.ts'
import { APPID, type BuildOptions, build, MCHID, type World } from '../../helper.ts'
import { ask } from './backend.ts'
import { ORDER } from './order.ts'

export const OTHER_MCHID = '1900000208'

const own = makeMerchant({ mchid: MCHID, appids: [APPID] })
const other = makeMerchant({ mchid: OTHER_MCHID, appids: [APPID] })

/** What one merchant has in `WECHAT_CONFIG_FILE`. */
const entryOf = (secrets: MerchantSecrets) => ({
  mchid: secrets.mchid,
  apiV2Key: secrets.apiV2Key,
  apiV3Key: secrets.apiV3Key,
  certSerial: secrets.certSerial,
  privateKey: secrets.privateKeyPem,
  cert: secrets.certificatePem,
  publicKeyId: secrets.publicKeyId,
  publicKey: secrets.publicKeyPem
})

export interface PayWorld extends World {
  /** The sandbox that is WeChat Pay here. */
  pay: Sandbox
}

export interface PayWorldOptions extends BuildOptions {
  /** Both merchants; default: the one of MCHID. */
  both?: boolean
}

export async function buildPay(t: Test, { both = false, env, ...options }: PayWorldOptions = {}): Promise<PayWorld> {
  const { now } = options
  const apps = [{ appid: APPID, secret: 'not used' }]
  const pay = await startSandbox({ apps, merchants: [own.merchant, other.merchant], ...(now && { now }) })
  t.teardown(() => pay.close())
  const merchants = (both ? [own, other] : [own]).map(({ secrets }) => entryOf(secrets))
  const file = join(t.testdir(), 'wechat.json')
  writeFileSync(file, JSON.stringify({ apps: [{ appid: APPID, secret: 'x' }], merchants }))
  const unset = { WECHAT_APPID: undefined, WECHAT_SECRET: undefined, WECHAT_PAY_MCHID: undefined }
  const change = {
    ...unset,
    WECHAT_PAY_API_V2_KEY: undefined,
    WECHAT_CONFIG_FILE: file,
    WECHAT_PAY_ORIGIN: pay.origin,
    ...env
  }
  return { ...(await build(t, { ...options, env: change })), pay }
}

export type Answer = Awaited<ReturnType<typeof ask>>

/** A call of `/internal/pay`; `payload` makes it a POST. */
export function call(app: FastifyInstance, path: string, payload?: object): Promise<Answer> {
  const options: InjectOptions = payload === undefined ? { method: 'GET' } : { method: 'POST', payload }
  return ask(app, { ...options, url: `/internal/pay/${path}` })
}

/** An order that was made and paid, of which WeChat has told nothing. */
export async function paidOrder({ app, pay }: PayWorld, change: object = {}) {
  const answer = await call(app, 'orders', { ...ORDER, ...change })
  if (answer.statusCode !== 200) throw new Error(answer.body)
  return pay.pay({ prepayId: answer.json().prepayId, times: 0 })
}
