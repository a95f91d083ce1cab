/**
 * Finds the ciphertext of an encrypted push. Its signature is its own proof, so it does not matter how it was found.
 */
import { type PushFields, readFields, textOf } from './message.ts'
import { decodePush } from './text.ts'

/** As XML and JSON spell it; JSON may escape the slashes of base64. */
const ENCRYPT = [
  /<Encrypt>\s*(?:<!\[CDATA\[)?([A-Za-z0-9+/=]+)(?:\]\]>)?\s*<\/Encrypt>/g,
  /"Encrypt"\s*:\s*"((?:[A-Za-z0-9+/=]|\\\/)+)"/g
]
/** An envelope that does not end was cut off on its way. */
const END = /(?:<\/xml>|\})[ \t\r\n\0]{0,8}$/
/** What users typed may look like others; WeChat's own comes last. */
const MOST_FOUND = 8

/**
 * What may be the ciphertext; nothing where it is absent; undefined for what is no envelope, DOCTYPE and entities among
 * it. In compatible mode the message stands beside it, as badly written as users typed it: where that hinders reading,
 * the ciphertext is looked for alone.
 */
export function findEncrypted(body: Buffer): string[] | undefined {
  const envelope = readFields(body)
  if (envelope.status === 'read') return encryptedIn(envelope).slice(-MOST_FOUND)
  if (envelope.reason === 'doctype' || envelope.reason === 'entity') return undefined
  const { text } = decodePush(body)
  if (!END.test(text.slice(-16))) return undefined
  const found = ENCRYPT.flatMap((spelling) => [...text.matchAll(spelling)]).slice(-MOST_FOUND)
  const all = found.map(([, encrypted = '']) => encrypted.replaceAll('\\/', '/'))
  return all.length === 0 ? undefined : all
}

/** In XML what users typed may make it a list. */
function encryptedIn({ format, fields }: PushFields): string[] {
  const { Encrypt } = fields
  const all =
    format === 'xml' && Array.isArray(Encrypt)
      ? Encrypt.map((each) => textOf({ each }, 'each'))
      : [textOf(fields, 'Encrypt')]
  return all.filter((text) => text !== '')
}
