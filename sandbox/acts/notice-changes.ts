/** What a test may change in a notice: each field of these is taken by the acts that send notices. */
import { type Static, Type } from '@sinclair/typebox'
import { SIGNATURE_FAULTS } from '../state/faults.ts'
import { ActError } from './act.ts'

const Fields = (description: string) =>
  Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: `${description}; null takes a field away` }))

/** Of notices in XML. */
const XML_ONLY = {
  signWith: Type.Optional(
    Type.Union([Type.Literal('MD5'), Type.Literal('HMAC-SHA256')], { description: "instead of the order's" })
  ),
  cdata: Type.Optional(Type.Boolean({ description: 'false: escaped text instead of CDATA' }))
}

/** Of notices in JSON. */
const JSON_ONLY = {
  plaintext: Type.Optional(
    Type.String({ description: 'what is sealed, instead of the JSON of the payment or refund' })
  ),
  body: Type.Optional(Type.String({ description: 'what is signed and sent, instead of the JSON of the notice' })),
  signBy: Type.Optional(
    Type.String({
      description:
        'certificate, public-key, unknown-certificate, unknown-public-key, or a serial number, retired ones too'
    })
  ),
  signature: Type.Optional(Type.Union(SIGNATURE_FAULTS.map((fault) => Type.Literal(fault)))),
  signTests: Type.Optional(
    Type.Integer({ minimum: 0, description: 'so many of the first tries are SIGNTEST probes; default 0' })
  ),
  skewSeconds: Type.Optional(Type.Integer({ description: 'how far the timestamp is off, authentically; default 0' })),
  headers: Type.Optional(
    Type.Record(Type.String(), Type.Union([Type.String(), Type.Null()]), {
      description: 'set after signing; null takes a header away'
    })
  )
}

export const Changes = {
  overrides: Fields('fields of the payment or refund, before it is sealed or signed'),
  envelope: Fields('fields around the sealed part, before signing'),
  tamper: Fields('fields of the notice, after signing'),
  sealKey: Type.Optional(
    Type.String({ description: 'instead of the APIv3 key; for refund notices in XML instead of the APIv2 key' })
  ),
  ...XML_ONLY,
  ...JSON_ONLY
}
const ChangesInput = Type.Object(Changes)
export type Changes = Omit<Static<typeof ChangesInput>, 'signature'> & { signature?: (typeof SIGNATURE_FAULTS)[number] }

/** A change that the notice has no place for is a mistake of the test. Throws ActError 400. */
export function checkChanges(form: 'XML' | 'JSON', changes: Changes): void {
  const foreign = Object.keys(form === 'XML' ? JSON_ONLY : XML_ONLY)
  const wrong = foreign.find((name) => name in changes)
  if (wrong !== undefined) throw new ActError(400, `${wrong} does not fit: this notice is ${form}`)
}
