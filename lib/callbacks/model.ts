/**
 * The callbacks of WeChat: their channels, what a channel finds in one, and the words that log, metrics and lists know
 * them by.
 */
import type { Event } from '../events/model.ts'

export type CallbackChannel = 'pay-v2' | 'pay-v2-refund' | 'pay-v3' | 'push'

/**
 * Why a callback was not taken as it came: our words, never the sender's; for log and metrics, never for the answer.
 */
export const CALLBACK_REASONS = [
  'signature',
  // What may be wrong with XML.
  ...['size', 'encoding', 'character', 'doctype', 'attribute', 'nested', 'duplicate', 'name', 'entity', 'shape'],
  // The field that is missing or not of its form.
  ...['appid', 'mch_id', 'openid', 'out_trade_no', 'transaction_id', 'total_fee', 'refund_fee', 'cash_fee', 'time_end'],
  ...['body', 'id', 'event_type', 'create_time', 'resource', 'mchid', 'trade_state', 'payer.openid', 'amount.total'],
  ...['amount.payer_total', 'amount.refund', 'amount.currency', 'success_time', 'attach', 'bank_type'],
  ...['out_refund_no', 'refund_id', 'refund_status'],
  // What APIv3 looks at before anything else.
  ...['header', 'wrong-door', 'timestamp', 'probe', 'serial'],
  // Sealed under another APIv3 key than ours.
  'unopenable',
  // The same of a v2 refund notice, which has no signature.
  'req_info',
  // Of a kind that is not ours.
  'other-event',
  // What message push is checked for.
  ...['query', 'downgrade', 'encryption', 'format', 'replay', 'MsgType'],
  // What contradicts our settings or our order.
  ...['wrong-merchant', 'wrong-appid', 'amount-mismatch', 'other-content'],
  // What WeChat itself, when asked, does not know.
  'unknown-refund',
  // What it did not confirm for days.
  'unconfirmed'
] as const
export type CallbackReason = (typeof CALLBACK_REASONS)[number]

/** The reason itself where it is listed; for any other `shape`, so that labels stay few. */
export const reasonOf = (text: string): CallbackReason => CALLBACK_REASONS.find((reason) => reason === text) ?? 'shape'

/** What became of a callback; `failed`: no verdict was reached, Redis being away. */
export type CallbackVerdict =
  | 'recorded'
  | 'duplicate'
  | 'not-success'
  | 'other'
  /** The console's question whether the address of message push answers. */
  | 'checked'
  /** Stored, and to be confirmed by WeChat before it is recorded. */
  | 'unconfirmed'
  | 'refused'
  | 'unknown-merchant'
  | 'quarantined'
  | 'failed'

/** Headers or parameters of which each is there once. */
export type Texts = Readonly<Record<string, string>>

/** One callback as it came, or as it was kept. */
export interface Callback {
  /** The merchant or app whose address it came to. */
  owner: string
  /** Names in lower case, as Node.js gives them: a header sent twice is one text, or a list. */
  headers: Readonly<Record<string, string | readonly string[] | undefined>>
  query: Readonly<Record<string, unknown>>
  body: Buffer
  /** Milliseconds since 1970: its timestamp has to fit that time. */
  receivedAt: number
}

/** What a channel found in a callback, before anything of it is stored. */
export type Finding =
  /** Nothing proves that WeChat sent it. */
  | { status: 'refused'; reason: CallbackReason }
  | { status: 'unknown-merchant' }
  /** Nothing to store: success all the same. `checked`: the console asks whether the address answers. */
  | { status: 'not-success' | 'checked' }
  | EventFinding
  /** WeChat could not confirm it in time: stored as it came, and recorded once confirmed. Success. */
  | { status: 'unconfirmed'; id: string; store: () => Promise<void> }
  | KeptFinding

export interface EventFinding {
  status: 'event'
  event: Event
  /** Recorded if the id exists with other content; undefined: the callback goes to quarantine. */
  otherwise?: Event
  /** What it is kept as then; undefined: the id of the event. */
  keptAs?: string
  /** After it is recorded, or was before. Where this fails, so does the callback. */
  recorded?: () => Promise<void>
}

/** An authentic callback that a person has to look at: it is kept in quarantine. */
export interface KeptFinding {
  /** `other`: of a kind that is not ours. `quarantined`: it contradicts us, or cannot be read. */
  status: 'quarantined' | 'other'
  /** What it is about, e.g. `pay_{mchid}_{transactionId}`: one entry for each. */
  id: string
  reason: CallbackReason
}

export interface CallbackAnswer {
  contentType?: string
  body: string | null
}

/** A finding, and what is said of it beside the words of its channel. */
export interface Reading {
  finding: Finding
  /** Members for the log. */
  log?: Readonly<Record<string, unknown>> | undefined
  success?: CallbackAnswer
  /** The answer if it cannot be stored: WeChat has to send it again. */
  busy?: CallbackAnswer
  /** Asked before anything is stored, but not of a retry: why the signature is used up. */
  claim?: () => Promise<CallbackReason | undefined>
}

/** One way in which WeChat calls us: how a callback is read, and in which words it is answered. */
export interface Channel {
  name: CallbackChannel
  success: CallbackAnswer
  /** The same for every refusal, so that it tells a forger nothing. */
  failure: CallbackAnswer
  statuses: { success: number; refused: number; compressed: number; unknownMerchant: number; quarantined: number }
  /** Whether the log of a callback that could not be stored says `failed`; else it names no verdict. */
  logsFailure?: boolean
  /** Reads, verifies and matches. Throws where Redis is away. */
  read(callback: Callback): Promise<Reading>
  /** The console's question whether the address answers. */
  check?(callback: Callback): Promise<Reading>
  /** What it takes, beside the body, to verify a callback once more. */
  proofOf(callback: Callback): { headers?: Texts; query?: Texts }
}
