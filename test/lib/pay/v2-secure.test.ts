/** Refunds by APIv2 over real TLS: WeChat asks for the merchant's certificate, and gets it from us only for refunds. */
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import t, { type Test } from 'tap'
import { Upstream } from '../../../lib/http/upstream.ts'
import type { PayApi } from '../../../lib/pay/model.ts'
import { refundOnce } from '../../../lib/pay/refund-once.ts'
import { PayApiV2 } from '../../../lib/pay/v2/api.ts'
import { SecureUpstreams } from '../../../lib/pay/v2/secure-upstreams.ts'
import type { Merchant } from '../../../lib/settings/model.ts'
import { makeCertified, makeMerchant, type Sandbox, startSandbox } from '../../../sandbox/index.ts'
import { madeOf } from './made-of.ts'

const APPID = 'wx0123456789abcdef'
const OTHER_MCHID = '1900000208'
const REQUEST = { outTradeNo: 'T20250101_0001', outRefundNo: 'R1', amount: 30, total: 100 }
const own = makeMerchant({ appids: [APPID] })
const other = makeMerchant({ mchid: OTHER_MCHID, appids: [APPID] })

const tls = makeCertified({ altNames: ['127.0.0.1'] })
setDefaultCACertificates([...getCACertificates(), tls.certificatePem])

const merchantOf = ({ secrets }: typeof own): Merchant => ({
  mchid: secrets.mchid,
  apiV2Key: secrets.apiV2Key,
  privateKey: secrets.privateKeyPem,
  cert: secrets.certificatePem,
  appids: [APPID]
})

/** By TLS. An order of 100 fen is paid at each merchant. */
async function secureSandbox(t: Test): Promise<{ v2: PayApi; sandbox: Sandbox }> {
  const sandbox = await startSandbox({
    apps: [{ appid: APPID, secret: 'not used' }],
    merchants: [own.merchant, other.merchant],
    tls
  })
  t.teardown(() => sandbox.close())
  const options = { origins: [sandbox.tlsOrigin ?? ''], timeoutMs: 5000 }
  const upstream = new Upstream(options)
  const secure = new SecureUpstreams(options)
  t.teardown(() => Promise.all([upstream.close(), secure.close()]))
  const v2 = new PayApiV2({
    upstream,
    secureUpstreamFor: (merchant) => secure.of(merchant),
    meters: { upstreamCall: () => undefined },
    publicUrl: 'https://wx.example.test',
    now: Date.now
  })
  for (const merchant of [own, other].map(merchantOf)) {
    const made = await v2.prepay(merchant, {
      api: 'v2',
      appid: APPID,
      mchid: merchant.mchid,
      outTradeNo: REQUEST.outTradeNo,
      openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
      totalFen: 100,
      currency: 'CNY',
      description: 'tea',
      createdAt: 1735689600
    })
    if (made.status !== 'made') throw made.error
    await sandbox.pay({ prepayId: made.prepayId, times: 0 })
  }
  sandbox.clearCalls()
  return { v2, sandbox }
}

t.test('refund() shows the certificate of its merchant, and queries show none', async (t) => {
  const { v2, sandbox } = await secureSandbox(t)
  for (const made of [own, other, own]) {
    const outRefundNo = `R${made.secrets.mchid}`
    t.match(madeOf(await refundOnce(v2, merchantOf(made), { ...REQUEST, outRefundNo })), {
      state: 'PROCESSING',
      outRefundNo
    })
    t.match(await v2.queryRefund(merchantOf(made), outRefundNo), { state: 'PROCESSING' })
  }
  const shown = sandbox.calls().map(({ api, clientCertSerial }) => [api, clientCertSerial])
  t.same(shown, [
    ['refund', own.secrets.certSerial],
    ['refundquery', undefined],
    ['refund', other.secrets.certSerial],
    ['refundquery', undefined],
    ['refund', own.secrets.certSerial],
    ['refundquery', undefined]
  ])
})

t.test('refund() with the certificate of another is turned away, and no refund is made', async (t) => {
  const { v2, sandbox } = await secureSandbox(t)
  const { cert, privateKey } = merchantOf(other)
  const impostor = { ...merchantOf(own), ...(cert && { cert }), ...(privateKey && { privateKey }) }
  t.match(await refundOnce(v2, impostor, REQUEST), { error: { code: 'WECHAT_BAD_RESPONSE' } })
  t.same(sandbox.order(REQUEST.outTradeNo, own.secrets.mchid).refunds, [])
})

t.test('refund() says which setting is missing, and asks nobody', async (t) => {
  const { v2, sandbox } = await secureSandbox(t)
  const { cert, privateKey, ...bare } = merchantOf(own)
  for (const [half, missing] of [
    [{ ...(privateKey && { privateKey }) }, /WECHAT_PAY_CERT/],
    [{ ...(cert && { cert }) }, /WECHAT_PAY_PRIVATE_KEY/]
  ] as const) {
    const error = { code: 'WECHAT_CONFIG_INVALID', message: missing }
    t.match(await refundOnce(v2, { ...bare, ...half }, REQUEST), { error, mayExist: false })
  }
  t.same(sandbox.calls(), [])
})
