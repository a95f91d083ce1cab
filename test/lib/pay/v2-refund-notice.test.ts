/**
 * The APIv2 refund notice as pure functions, against the published vectors, an independent package, and impossible
 * fields.
 */
import { createCipheriv, createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import t from 'tap'
import { readRefundNotice } from '../../../lib/pay/v2/notices.ts'
import { vectors } from '../../vectors.ts'

const KEY = 'throwAwayApiV2Key000000000000001'
const FIELDS = {
  out_refund_no: 'R20250101_0001',
  out_trade_no: 'T20250101_0001',
  refund_fee: '30',
  refund_id: '50302500002025010112345678901',
  refund_status: 'SUCCESS',
  success_time: '2025-01-02 09:10:11',
  total_fee: '100',
  transaction_id: '4200002400202501011234567890'
}

const flat = (root: string, fields: object) =>
  `<${root}>${Object.entries(fields).map(([name, value]) => `<${name}>${value}</${name}>`)}</${root}>`.replaceAll(
    ',<',
    '<'
  )

function seal(plaintext: string, key = KEY): string {
  const aesKey = createHash('md5').update(key).digest('hex')
  const cipher = createCipheriv('aes-256-ecb', Buffer.from(aesKey, 'latin1'), null)
  return Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]).toString('base64')
}

const noticeOf = (reqInfo: string) =>
  Buffer.from(flat('xml', { return_code: 'SUCCESS', appid: 'wx1', mch_id: '1900000109', req_info: reqInfo }))
const readFields = (change: object) => readRefundNotice(noticeOf(seal(flat('root', { ...FIELDS, ...change }))), KEY)

t.test('readRefundNotice() opens what the 12 vectors say opens, and nothing else', async (t) => {
  const { cases } = vectors('pay-v2-refund-notify')
  const states: Record<string, string> = { SUCCESS: 'SUCCESS', CHANGE: 'ABNORMAL', REFUNDCLOSE: 'CLOSED' }
  for (const { name, input, expected } of cases) {
    const read = readRefundNotice(Buffer.from(input.body), input.key)
    const inner = (expected.plaintext ?? '').matchAll(/<(\w+)>(?:<!\[CDATA\[)?([^<\]]+)(?:\]\]>)?<\/\1>/g)
    const raw: Record<string, string> = Object.fromEntries([...inner].map(([, field, value]) => [field, value]))
    const wanted: Record<string, object> = {
      accept: {
        status: 'unsigned-refund',
        refund: {
          mchid: '1900000109',
          outRefundNo: raw.out_refund_no,
          refundId: raw.refund_id,
          state: states[raw.refund_status ?? ''],
          amount: { total: Number(raw.total_fee), refund: Number(raw.refund_fee) },
          raw
        }
      },
      undecryptable: { status: 'refused', reason: 'req_info' },
      'wrong-merchant': { status: 'unsigned-refund', refund: { mchid: '1900000110' } }
    }
    t.match(read, wanted[expected.verdict], name)
  }
  t.equal(cases.length, 12)
  t.equal(cases.filter(({ expected }: { expected: { verdict: string } }) => expected.verdict === 'accept').length, 5)
})

t.test('readRefundNotice() gives the time in UTC, and only with SUCCESS', async (t) => {
  t.match(readFields({}), { refund: { successTime: '2025-01-02T01:10:11.000Z' } })
  t.notMatch(readFields({ refund_status: 'CHANGE' }), { refund: { successTime: /./ } })
  t.match(readFields({ refund_status: 'PROCESSING' }), { status: 'unsigned-refund', refund: { state: 'PROCESSING' } })
})

t.test('readRefundNotice() names the first field that makes no sense', async (t) => {
  const senseless: [string, object][] = [
    ['refund_fee', { refund_fee: '101' }],
    ['refund_fee', { refund_fee: '-1' }],
    ['refund_fee', { refund_fee: '' }],
    ['total_fee', { total_fee: '1e2' }],
    ['total_fee', { total_fee: '12345678901' }],
    ['refund_status', { refund_status: 'DONE' }],
    ['refund_id', { refund_id: 'a:b' }],
    ['transaction_id', { transaction_id: '' }],
    ['out_refund_no', { out_refund_no: 'x'.repeat(65) }],
    ['out_trade_no', { out_trade_no: 'a b' }],
    ['success_time', { success_time: '2025-02-30 00:00:00' }]
  ]
  for (const [reason, change] of senseless)
    t.same(readFields(change), { status: 'malformed', reason }, JSON.stringify(change))
  t.equal(senseless.length, 11)
})

t.test('readRefundNotice() holds req_info to the strict form of the outer XML', async (t) => {
  const inner = flat('root', FIELDS)
  const hostile = [
    flat('xml', FIELDS),
    `<!DOCTYPE root [<!ENTITY a SYSTEM "file:///etc/passwd">]>${inner}`,
    inner.replace('<refund_fee>', '<refund_fee x="1">'),
    inner.replace('</root>', '<refund_fee>1</refund_fee></root>'),
    `${inner}x`,
    ''
  ]
  for (const text of hostile)
    t.same(readRefundNotice(noticeOf(seal(text)), KEY), { status: 'refused', reason: 'req_info' }, text)
  const good = seal(inner)
  for (const reqInfo of [
    ` ${good}`,
    good.slice(0, -4),
    `${good}AAAA`,
    good.replaceAll('+', '-'),
    seal(inner, 'x'.repeat(32))
  ])
    t.same(readRefundNotice(noticeOf(reqInfo), KEY), { status: 'refused', reason: 'req_info' })
  t.equal(readRefundNotice(noticeOf(good), KEY).status, 'unsigned-refund')
  t.same(readRefundNotice(Buffer.from('{}'), KEY).status, 'refused')
})

t.test('tenpay reads in our notices what readRefundNotice() reads', async (t) => {
  const Tenpay = createRequire(import.meta.url)('tenpay')
  const body = noticeOf(seal(flat('root', FIELDS)))
  const theirs = new Tenpay({ appid: 'wx1', mchid: '1900000109', partnerKey: KEY, notify_url: 'https://a.example/' })
  const { req_info: opened } = await theirs._parse(String(body), 'middleware_refund')
  t.same({ ...opened }, FIELDS)
  t.match(readRefundNotice(body, KEY), { refund: { raw: { ...opened } } })
})
