/** The body of any APIv2 call: flat XML, signed (unified order, query, close, refund). */
import { buildFlatXml } from '../../xml/write.ts'
import { type SignTypeV2, signV2 } from './sign.ts'

export interface SigningV2 {
  /** The APIv2 key. */
  key: string
  signType: SignTypeV2
}

/**
 * Whether WeChat Pay takes this text: its UTF-8 knows characters of one to three bytes only, so no emoji anywhere
 * (body, attach, refund_desc), and XML knows no control characters. Ask this about text from outside; what follows here
 * throws.
 */
export function isWechatPayText(text: string): boolean {
  return /^[\t\n\r\u0020-\ud7ff\ue000-\ufffd]*$/.test(text)
}

/**
 * Signs and writes a request. Absent and empty fields are left out; sign_type and sign are added. Throws RangeError on
 * text that `isWechatPayText` refuses.
 */
export function buildRequestV2(
  params: Readonly<Record<string, string | undefined>>,
  { key, signType }: SigningV2
): string {
  const fields = new Map<string, string>()
  const all: Readonly<Record<string, string | undefined>> = { ...params, sign_type: signType }
  for (const [name, value] of Object.entries(all)) {
    if (value === undefined || value === '') continue
    if (!isWechatPayText(value)) throw new RangeError(`${name} has a character WeChat Pay does not take`)
    fields.set(name, value)
  }
  fields.set('sign', signV2(fields, key, signType))
  return buildFlatXml(fields)
}
