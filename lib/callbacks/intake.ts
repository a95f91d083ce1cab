/**
 * What becomes of every callback, whichever channel it came by: recorded, kept for a person or refused; counted, noted
 * and answered; and tried again out of quarantine.
 */
import { ServiceError } from '../errors.ts'
import type { EventRecorder } from '../events/recorder.ts'
import type { Meters } from '../metrics/meters.ts'
import type { Durability } from '../redis/durability.ts'
import type {
  Callback,
  CallbackAnswer,
  CallbackChannel,
  CallbackReason,
  CallbackVerdict,
  Channel,
  EventFinding,
  KeptFinding,
  Reading
} from './model.ts'
import type { Quarantine } from './quarantine.ts'
import { type RefusedLog, refusedCallback, type Sighting } from './refused.ts'

export interface Stored {
  verdict: CallbackVerdict
  reason?: CallbackReason | undefined
  /** The webhook-id, or what the quarantine knows it by: nothing of a person. */
  id?: string
}

export interface CallbackOutcome {
  verdict: CallbackVerdict
  /** undefined: nobody knows whether Redis holds it; `cause` says why. */
  status: number | undefined
  cause?: unknown
  answer: CallbackAnswer
  log: Readonly<Record<string, unknown>>
}

export interface IntakeOptions {
  events: Pick<EventRecorder, 'record'>
  quarantine: Quarantine
  refused: RefusedLog
  /** undefined if success may be answered before the event is on disk. */
  durability: Durability | undefined
  meters: Pick<Meters, 'callback'>
  /** Milliseconds since 1970. */
  now: () => number
}

/** After these WeChat is answered success: there is nothing left for a person to do. */
const SETTLED: ReadonlySet<CallbackVerdict> = new Set(['recorded', 'duplicate', 'not-success', 'unconfirmed'])
const REFUSED: ReadonlySet<CallbackVerdict> = new Set(['refused', 'unknown-merchant', 'quarantined'])

export class CallbackIntake {
  readonly quarantine: Quarantine
  readonly refused: RefusedLog
  readonly #options: IntakeOptions
  readonly #channels = new Map<CallbackChannel, Channel>()

  constructor(options: IntakeOptions) {
    this.#options = options
    this.quarantine = options.quarantine
    this.refused = options.refused
  }

  register(channel: Channel): void {
    if (this.#channels.has(channel.name)) throw new Error(`the channel ${channel.name} is registered already`)
    this.#channels.set(channel.name, channel)
  }

  channel(name: CallbackChannel): Channel {
    const channel = this.#channels.get(name)
    if (channel === undefined) throw new Error(`there is no channel ${name}`)
    return channel
  }

  /** Our clock sets the time of receipt. Never throws. */
  async receive(
    name: CallbackChannel,
    message: Omit<Callback, 'receivedAt'>,
    sighting: Sighting,
    of: 'read' | 'check' = 'read'
  ): Promise<CallbackOutcome> {
    const channel = this.channel(name)
    const callback = { ...message, receivedAt: this.#options.now() }
    let reading: Reading | undefined
    let stored: Stored
    let cause: unknown
    try {
      reading = of === 'read' ? await channel.read(callback) : await channel.check?.(callback)
      if (reading === undefined) throw new Error(`the channel ${name} has no check`)
      stored = await this.#store(channel, callback, reading)
    } catch (error) {
      cause = error
      const reason = reading && 'reason' in reading.finding ? reading.finding.reason : undefined
      stored = { verdict: 'failed', reason }
    }
    const { verdict, reason, id } = stored
    this.#options.meters.callback(name, verdict, reason)
    if (REFUSED.has(verdict)) this.#note(channel, message, sighting, stored)
    const isLogged = verdict !== 'failed' || channel.logsFailure === true
    const log = isLogged ? { verdict, reason, ...reading?.log, webhookId: id } : {}
    return { verdict, cause, log, ...answerOf(channel, verdict, reading) }
  }

  /** For what is too large or compressed, and so refused before there was anything to read. */
  refuseUnread(
    name: CallbackChannel,
    message: Pick<Callback, 'headers' | 'query'>,
    sighting: Sighting,
    reason: 'size' | 'encoding'
  ): void {
    this.#options.meters.callback(name, 'refused', reason)
    this.#note(this.channel(name), message, sighting, { verdict: 'refused', reason })
  }

  /**
   * A callback out of quarantine once more, by the clock of then and the settings of today. What settles it takes it
   * out; else it stays. Counts nothing. Throws NOT_FOUND, and where Redis is away.
   */
  async retry(id: string): Promise<Pick<CallbackOutcome, 'verdict'> & { reason?: string | undefined; id?: string }> {
    const entry = await this.quarantine.find(id)
    if (entry === undefined) throw new ServiceError('NOT_FOUND', { message: 'Nothing is in quarantine under this id' })
    if (entry === 'unopenable') return { verdict: 'quarantined', reason: 'encryption-key' }
    const channel = this.channel(entry.door)
    const { finding } = await channel.read(entry)
    const isKept = finding.status === 'quarantined' || finding.status === 'other'
    const stored = isKept ? keptAs(finding) : await this.#store(channel, entry, { finding }, 'retry')
    if (SETTLED.has(stored.verdict)) await this.quarantine.remove(id, entry.receivedAt)
    return stored
  }

  /** Reads and stores a callback that was answered before. Counts nothing. Throws where Redis is away. */
  async settle(channel: Channel, callback: Callback): Promise<Stored> {
    return this.#store(channel, callback, await channel.read(callback))
  }

  /** Resolves when it is on disk, if WeChat is answered success and the settings ask for that. */
  async keep(channel: Channel, callback: Callback, finding: KeptFinding): Promise<Stored> {
    const { owner, body } = callback
    const { id: identity, reason } = finding
    const confirm = isSuccess(statusOf(channel, finding.status)) && (await this.#options.durability?.begin())
    await this.quarantine.put({ identity, door: channel.name, reason, owner, body, ...channel.proofOf(callback) })
    if (confirm) await confirm()
    return keptAs(finding)
  }

  async #store(channel: Channel, callback: Callback, { finding, claim }: Reading, of?: 'retry'): Promise<Stored> {
    const usedUp = await claim?.()
    if (usedUp !== undefined) return { verdict: 'refused', reason: usedUp }
    switch (finding.status) {
      case 'event': {
        const conflict = await this.#record(finding)
        if ('verdict' in conflict) return conflict
        return of === 'retry' ? keptAs(conflict) : this.keep(channel, callback, conflict)
      }
      case 'quarantined':
      case 'other':
        return this.keep(channel, callback, finding)
      case 'unconfirmed':
        await finding.store()
        return { verdict: 'unconfirmed', id: finding.id }
      case 'refused':
        return { verdict: 'refused', reason: finding.reason }
      default:
        return { verdict: finding.status }
    }
  }

  /** Another event that is there under its id contradicts it: that is for a person. */
  async #record({ event, otherwise, keptAs, recorded }: EventFinding): Promise<Stored | KeptFinding> {
    const { events } = this.#options
    let { id } = event
    let verdict = await events.record(event)
    if (verdict === 'conflict' && otherwise !== undefined) {
      id = otherwise.id
      verdict = (await events.record(otherwise)) === 'recorded' ? 'recorded' : 'duplicate'
    }
    if (verdict === 'conflict') return { status: 'quarantined', id: keptAs ?? id, reason: 'other-content' }
    await recorded?.()
    return { verdict, id }
  }

  /** Before the answer leaves, so that who has it finds the entry; but nobody waits for Redis. */
  #note(channel: Channel, message: Pick<Callback, 'headers' | 'query'>, sighting: Sighting, stored: Stored): void {
    this.refused.note(refusedCallback(channel.name, message, sighting, stored))
  }
}

const keptAs = ({ status, id, reason }: KeptFinding): Stored => ({ verdict: status, id, reason })

const isSuccess = (status: number): boolean => status < 300

function statusOf({ statuses }: Channel, verdict: CallbackVerdict): number {
  if (verdict === 'refused') return statuses.refused
  if (verdict === 'unknown-merchant') return statuses.unknownMerchant
  return verdict === 'quarantined' ? statuses.quarantined : statuses.success
}

function answerOf(channel: Channel, verdict: CallbackVerdict, reading: Reading | undefined) {
  if (verdict === 'failed') return { status: undefined, answer: reading?.busy ?? channel.failure }
  const status = statusOf(channel, verdict)
  return { status, answer: isSuccess(status) ? (reading?.success ?? channel.success) : channel.failure }
}
