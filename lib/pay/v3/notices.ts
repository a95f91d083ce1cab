/**
 * The callbacks of APIv3 (pay.weixin.qq.com/doc/v3/merchant/4012791902): verified, opened, and read by the file of
 * their kind. Their answers, too.
 */
import type { KeyObject } from 'node:crypto'
import type { Callback } from '../../callbacks/model.ts'
import type { Merchant } from '../../settings/model.ts'
import { isPlainObject } from '../../util/json.ts'
import type { NoticeReader, PayNotice } from '../model.ts'
import { openResource, signatureHeadersOf, type VerificationV3 } from './crypto.ts'
import { type EnvelopeV3, FieldReader, type NoticeKindV3, parseJsonObject } from './fields.ts'
import type { AccountsV3, PlatformKeyStore } from './keys.ts'
import { paymentNotices } from './notices/payment.ts'
import { refundNotices } from './notices/refund.ts'

/** A new kind is one file in notices/, and one line here. */
const KINDS: readonly NoticeKindV3[] = [paymentNotices, refundNotices]

/**
 * The same for every refusal, so that it tells a forger nothing. The status decides, never 2xx with this; success is a
 * 204 without a body.
 */
export const failReplyV3 = '{"code":"FAIL","message":"失败"}'

export interface NoticesOptionsV3 {
  accounts: Pick<AccountsV3, 'find'>
  platformKeys: Pick<PlatformKeyStore, 'verify'>
}

export class NoticesV3 implements NoticeReader {
  readonly name = 'pay-v3'
  readonly success = { body: null }
  readonly failure = { contentType: 'application/json; charset=utf-8', body: failReplyV3 }
  readonly statuses = { success: 204, refused: 401, compressed: 415, unknownMerchant: 404, quarantined: 500 }
  readonly #options: NoticesOptionsV3

  constructor(options: NoticesOptionsV3) {
    this.#options = options
  }

  readonly proofOf = ({ headers }: Callback) => ({ headers: signatureHeadersOf(headers) })

  async read({ mchid }: Merchant, callback: Callback) {
    const { accounts, platformKeys } = this.#options
    const credentials = accounts.find(mchid)
    if (credentials === undefined) return undefined
    const verified = await platformKeys.verify(credentials, callback, callback.receivedAt)
    const notice: PayNotice =
      verified.status === 'verified'
        ? readNoticeV3(callback.body, credentials.apiV3Key)
        : { status: 'refused', reason: verified.reason }
    return { notice, log: claimsOf(verified) }
  }
}

/** Reads a callback that `verifyV3` has verified. Nothing proves the bytes otherwise. */
export function readNoticeV3(body: Buffer, apiV3Key: KeyObject): PayNotice {
  const json = parseJsonObject(body)
  if (json === undefined) return malformed('body')
  const fields = new FieldReader(json)
  const envelope = readEnvelope(fields)
  if (fields.fault !== undefined) return malformed(fields.fault)
  if (!isPlainObject(json.resource)) return malformed('resource')
  const opened = openResource(json.resource, apiV3Key)
  if (opened === undefined) return malformed('unopenable')
  const raw = parseJsonObject(opened)
  if (raw === undefined) return malformed('resource')
  const kind = KINDS.find(({ eventTypes }) => eventTypes.includes(envelope.eventType))
  return kind === undefined ? { status: 'other' } : kind.read(raw, envelope)
}

function readEnvelope(fields: FieldReader): EnvelopeV3 {
  const eventType = fields.text('event_type')
  // For its form alone: repeats are not recognised by it, as it may change.
  fields.optionalText('id')
  return { eventType, createTime: fields.optionalTime('create_time') }
}

const malformed = (reason: string): PayNotice => ({ status: 'malformed', reason })

/** For the log. What is not verified is shown only where it has the form of a serial. */
function claimsOf({ serial = '', skewSeconds }: VerificationV3) {
  const isSerial = /^(?:PUB_KEY_ID_[0-9A-Za-z]{1,64}|[0-9A-F]{40})$/.test(serial)
  return { serial: isSerial ? serial : undefined, skewSeconds }
}
