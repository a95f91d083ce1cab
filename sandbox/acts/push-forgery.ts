/** Pushes that a gateway has to refuse. Each is right except for one thing. */
import { type Static, Type } from '@sinclair/typebox'
import { makeNonce } from '../wire/random.ts'
import { ActError } from './act.ts'
import type { Parcel, Terms } from './push-parcel.ts'

const LIMIT_BYTES = 1024 * 1024

/** Changes of what a push is made from: it fits together, but nobody at WeChat would make it. */
const TERMS = {
  /** Signed with a Token that is not the app's. */
  token: (terms) => ({ ...terms, token: makeNonce() }),
  /** Signed rightly, encrypted with another key. */
  'aes-key': (terms) => ({ ...terms, aesKey: `${makeNonce()}${makeNonce().slice(0, 10)}A` }),
  /** Signed and encrypted rightly, for another app. */
  appid: (terms) => ({ ...terms, appid: 'wxffffffffffffffff' }),
  /** A right plain push, though the mode is another. */
  downgrade: (terms) => ({ ...terms, mode: 'plain' }),
  /** A bit of the ciphertext changed, then signed: only decryption shows it, by its padding. */
  ciphertext: (terms) => ({ ...terms, seal: flipPadding }),
  /** The same change after signing. */
  tampered: (terms) => ({ ...terms, send: flipPadding }),
  /** The query of an encrypted push, without Encrypt in the body. */
  'no-encrypt': (terms) => ({ ...terms, send: () => undefined }),
  doctype: (terms) => ({ ...terms, format: 'xml' })
} satisfies Record<string, (terms: Terms) => Terms>

/** Changes of what is sent. */
const PARCELS = {
  /** One digit of the signature that counts in this mode. */
  signature: (parcel) => changeQuery(parcel, (text) => (text.startsWith('0') ? '1' : '0') + text.slice(1)),
  'no-signature': (parcel) => changeQuery(parcel, () => undefined),
  /** `signature` in the place of `msg_signature`. */
  'plain-signature': (parcel) => changeQuery(parcel, () => parameterOf(parcel, 'signature')),
  'repeated-parameters': (parcel) => ({ ...parcel, query: [...parcel.query, ...parcel.query] }),
  doctype: (parcel) => ({ ...parcel, body: `<!DOCTYPE xml [<!ENTITY a "b">]>${parcel.body}` }),
  /** One byte above 1 MiB. */
  oversize: (parcel) => ({
    ...parcel,
    body: parcel.body + ' '.repeat(LIMIT_BYTES + 1 - Buffer.byteLength(parcel.body))
  })
} satisfies Record<string, (parcel: Parcel) => Parcel>

/** If nothing is encrypted, there is nothing to spoil. */
const NEED_ENCRYPTION = new Set('aes-key appid downgrade ciphertext tampered no-encrypt plain-signature'.split(' '))
const CHECK_FORGERIES = new Set(['token', 'signature', 'no-signature', 'repeated-parameters'])

const NAMES = [...new Set([...Object.keys(TERMS), ...Object.keys(PARCELS)])] as (
  | keyof typeof TERMS
  | keyof typeof PARCELS
)[]
export const Forgery = Type.Union(NAMES.map((name) => Type.Literal(name)))
export type Forgery = Static<typeof Forgery>

/** Throws ActError 400 if the forgery is not possible. `mode` is that of the push; undefined for the URL check. */
export function checkForgery(forgery: Forgery | undefined, mode: Terms['mode'] | undefined): void {
  if (forgery === undefined) return
  if (mode === undefined && !CHECK_FORGERIES.has(forgery))
    throw new ActError(400, `a URL check has nothing for the forgery ${forgery}`)
  if (mode === 'plain' && NEED_ENCRYPTION.has(forgery))
    throw new ActError(400, `plain mode has nothing for the forgery ${forgery}`)
}

export function spoilTerms(terms: Terms, forgery: Forgery | undefined): Terms {
  return forgery !== undefined && isIn(TERMS, forgery) ? TERMS[forgery](terms) : terms
}

export function spoilParcel(parcel: Parcel, forgery: Forgery | undefined): Parcel {
  return forgery !== undefined && isIn(PARCELS, forgery) ? PARCELS[forgery](parcel) : parcel
}

const isIn = <Kinds extends object>(kinds: Kinds, name: PropertyKey): name is keyof Kinds => Object.hasOwn(kinds, name)

/** CBC: this bit of the block before turns the padding, 1 to 32, into more than 128. */
function flipPadding(encrypted: string): string {
  const bytes = Buffer.from(encrypted, 'base64')
  const at = bytes.length - 17
  bytes.writeUInt8(bytes.readUInt8(at) ^ 0x80, at)
  return bytes.toString('base64')
}

const parameterOf = ({ query }: Parcel, name: string) => query.find(([other]) => other === name)?.[1]

/** `msg_signature` where there is one, else `signature`. */
function changeQuery(parcel: Parcel, change: (text: string) => string | undefined): Parcel {
  const name = parameterOf(parcel, 'msg_signature') === undefined ? 'signature' : 'msg_signature'
  const query = parcel.query.flatMap(([other, text]): [string, string][] => {
    const changed = other === name ? change(text) : text
    return changed === undefined ? [] : [[other, changed]]
  })
  return { ...parcel, query }
}
