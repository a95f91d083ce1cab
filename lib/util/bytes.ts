/** Bytes and their texts: names made of random or hashed bytes, and base64, canonical or as it comes by hand. */
import { hash, randomBytes } from 'node:crypto'
import { decodePercent } from './percent.ts'

/** New for every call: 32 hex digits. */
export const makeNonce = (): string => randomBytes(16).toString('hex')

/** The same for the same bytes: 32 hex digits of their SHA-256. */
export const contentHash = (content: string | Buffer): string => hash('sha256', content).slice(0, 32)

const LINE_BREAKS = /[\r\n\t]+/g

/** The bytes of standard base64 in its one canonical form; undefined for anything else. */
export function decodeCanonicalBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

/**
 * The bytes of base64 in either alphabet, padded or not. Percent-encoding is undone, spaces are the `+` that form
 * decoding made of them, line breaks are skipped. undefined for anything else, since Node.js skips what it does not
 * know.
 */
export function decodeBase64(text: string): Buffer | undefined {
  const plain = text.includes('%') ? decodePercent(text) : text
  if (plain === undefined) return undefined
  const letters = withoutPadding(plain.replaceAll(LINE_BREAKS, '')).replaceAll(/[ -]/g, '+').replaceAll('_', '/')
  const bytes = Buffer.from(letters, 'base64')
  return withoutPadding(bytes.toString('base64')) === letters ? bytes : undefined
}

/** A space counts as padding behind a `=` only: elsewhere it stands for a letter. */
function withoutPadding(text: string): string {
  let end = text.length
  for (let at = text.length; at > 0 && '= '.includes(text.charAt(at - 1)); at--) if (text[at - 1] === '=') end = at - 1
  return text.slice(0, end)
}
