/** What goes wrong at WeChat next: one queue per API. */
import { type Static, Type } from '@sinclair/typebox'

export const UPSTREAM_APIS = [
  'code2session',
  'stable_token',
  'getuserphonenumber',
  'unifiedorder',
  'checksession',
  'resetusersessionkey',
  'getwxacodeunlimit',
  'msg_sec_check',
  'subscribe_send',
  'getuserriskrank',
  'getcallbackip',
  'media_upload',
  'orderquery',
  'closeorder',
  'refund',
  'refundquery',
  'downloadbill',
  'v3_prepay',
  'v3_query',
  'v3_close',
  'v3_refund',
  'v3_refund_query',
  'v3_certificates',
  'v3_trade_bill',
  'v3_fundflow_bill',
  'v3_bill_download'
] as const
export type UpstreamApi = (typeof UPSTREAM_APIS)[number]

/** How an encrypted answer (API security mode) is spoilt; docs/sandbox.md says what each does. */
export const SECURITY_FAULTS = [
  'plain',
  'unsigned',
  'signature',
  'serial',
  'timestamp',
  'body',
  'ciphertext',
  'tag',
  'appid',
  'inner-appid',
  'inner-timestamp'
] as const
export type SecurityFault = (typeof SECURITY_FAULTS)[number]

/** How the signature of WeChat Pay's answer is spoilt; docs/sandbox.md says what each does. */
export const SIGNATURE_FAULTS = ['absent', 'wrong', 'body', 'signtest', 'unknown-serial', 'stale', 'ahead'] as const
export type SignatureFault = (typeof SIGNATURE_FAULTS)[number]

export const Fault = Type.Object(
  {
    api: Type.Union(UPSTREAM_APIS.map((api) => Type.Literal(api))),
    times: Type.Optional(
      Type.Integer({ minimum: 0, description: 'calls it is played to; 0: until cleared; default 1' })
    ),
    errcode: Type.Optional(
      Type.Union([Type.Integer(), Type.String()], {
        description:
          "a number; for WeChat Pay v2 an err_code such as 'SYSTEMERROR', for v3 a code such as 'SYSTEM_ERROR'"
      })
    ),
    errmsg: Type.Optional(
      Type.String({
        description: 'for WeChat Pay v2 without errcode: an unsigned return_code FAIL with this return_msg'
      })
    ),
    delayMs: Type.Optional(Type.Integer({ minimum: 0, description: 'real milliseconds before the answer' })),
    reset: Type.Optional(Type.Boolean({ description: 'the connection is reset instead of an answer' })),
    afterMs: Type.Optional(Type.Integer({ minimum: 0, description: 'with reset: real milliseconds before it' })),
    garbage: Type.Optional(Type.Boolean({ description: 'an HTML page with status 200' })),
    httpStatus: Type.Optional(
      Type.Integer({
        minimum: 200,
        maximum: 599,
        description: 'this status; the body is empty unless another field makes one'
      })
    ),
    apiSecurity: Type.Optional(
      Type.Union(
        SECURITY_FAULTS.map((fault) => Type.Literal(fault)),
        { description: 'spoils the answer to an encrypted request; nothing to any other' }
      )
    ),
    signature: Type.Optional(
      Type.Union(
        SIGNATURE_FAULTS.map((fault) => Type.Literal(fault)),
        { description: 'spoils the signature of an answer of WeChat Pay; v2 knows absent, wrong and body' }
      )
    ),
    overrides: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description:
          'fields of an answer of WeChat Pay, before it is signed; objects are merged, null takes a field away'
      })
    ),
    processed: Type.Optional(
      Type.Boolean({
        description: 'whether WeChat did its work before the answer went wrong; default: see docs/sandbox.md'
      })
    )
  },
  { additionalProperties: false }
)
export type Fault = Omit<Static<typeof Fault>, 'api' | 'apiSecurity' | 'signature'> & {
  api: UpstreamApi
  apiSecurity?: SecurityFault
  signature?: SignatureFault
}

interface Queued {
  readonly fault: Fault
  left: number
}

export class Faults {
  readonly #queues = new Map<UpstreamApi, Queued[]>()

  add(fault: Fault): void {
    const times = fault.times ?? 1
    const queue = this.#queues.get(fault.api) ?? []
    queue.push({ fault, left: times === 0 ? Number.POSITIVE_INFINITY : times })
    this.#queues.set(fault.api, queue)
  }

  /** The fault for the call that has just come, which uses it up once. */
  take(api: UpstreamApi): Fault | undefined {
    const queue = this.#queues.get(api)
    const first = queue?.[0]
    if (first === undefined) return undefined
    first.left -= 1
    if (first.left === 0) queue?.shift()
    return first.fault
  }

  clear(): void {
    this.#queues.clear()
  }
}
