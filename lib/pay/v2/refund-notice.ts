/**
 * The APIv2 refund notice (pay.weixin.qq.com/doc/v2/partner/4011989265): an unsigned envelope around `req_info`, which only opens
 * with the APIv2 key. That it opens hides and does not prove: blocks of two notices can be put together, old ones sent again.
 * So what it says is to be confirmed by a query before anybody acts on it.
 */
import { createDecipheriv, createSecretKey, hash } from 'node:crypto'
import { parseFlatXml, type XmlRefusal } from '../../xml/read.ts'
import { type RefundFieldV2, type RefundV2, readRefundV2 } from './refund-fields.ts'

export interface RefundNoticeV2 extends RefundV2 {
  /** Of the envelope, and so nobody's word. */
  appid: string
  mchid: string
  /** Every field of req_info as it came. */
  raw: Record<string, string>
}

export type RefundNotice =
  | { status: 'refund'; notice: RefundNoticeV2 }
  /** It opened, but this field is absent or not what it should be: for a person to look at. */
  | { status: 'malformed'; reason: RefundFieldV2 }
  /** Nobody vouches for it: not our XML, or req_info is absent or does not open to XML. */
  | { status: 'refused'; reason: XmlRefusal | 'req_info' }

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
const BLOCK_BYTES = 16

/** Reads one notice. The inner XML is held to the same strict form as the outer one, with its root `root`. */
export function readRefundNotice(body: Buffer, apiV2Key: string): RefundNotice {
  const xml = parseFlatXml(body)
  if (xml.status === 'refused') return xml
  const opened = openReqInfo(xml.fields.get('req_info') ?? '', apiV2Key)
  const inner = opened && parseFlatXml(opened, { root: 'root' })
  if (inner?.status !== 'parsed') return { status: 'refused', reason: 'req_info' }
  const read = readRefundV2(inner.fields, { suffix: '', state: 'refund_status', successTime: 'success_time' })
  if (read.status === 'malformed') return read
  const envelope = { appid: xml.fields.get('appid') ?? '', mchid: xml.fields.get('mch_id') ?? '' }
  return { status: 'refund', notice: { ...read.refund, ...envelope, raw: Object.fromEntries(inner.fields) } }
}

/** AES-256-ECB with PKCS#7, under the lower-case hex MD5 of the APIv2 key: 32 characters, leading zeros included. */
function openReqInfo(reqInfo: string, apiV2Key: string): Buffer | undefined {
  const sealed = BASE64.test(reqInfo) ? Buffer.from(reqInfo, 'base64') : Buffer.alloc(0)
  if (sealed.length === 0 || sealed.length % BLOCK_BYTES !== 0) return undefined
  const decipher = createDecipheriv('aes-256-ecb', createSecretKey(hash('md5', apiV2Key), 'ascii'), null)
  try {
    return Buffer.concat([decipher.update(sealed), decipher.final()])
  } catch {
    return undefined
  }
}
