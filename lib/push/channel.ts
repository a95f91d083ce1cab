/** Message push: the rows of table 9.2 in docs/wechat/mini-program.md, up to what is found in a push. */
import type { Callback, CallbackReason, Channel, EventFinding, Reading } from '../callbacks/model.ts'
import type { Event } from '../events/model.ts'
import type { Users } from '../sessions/users.ts'
import type { App } from '../settings/model.ts'
import type { Apps } from '../wechat/apps.ts'
import { accept, echo, postpone, REFUSED, SUCCESS } from './answer.ts'
import { verifyPush } from './encryption.ts'
import type { PushMessage } from './message.ts'
import { type OpenedPush, openPush, readQuery, signedParameters, type UnreadablePush } from './open.ts'
import { type PushQueries, URL_CHECK } from './queries.ts'

/** Characters of a name that the log shows: they are WeChat's words, and short. */
const MOST_SHOWN = 64
const UNSHOWN = /[^\w.:-]/g
/**
 * In plain mode nobody signs the body, so that there is an end to what is kept: 4096 bodies of an app, each no larger.
 */
const PLAIN_DIGITS = 3
const MOST_PLAIN_BYTES = 128 * 1024
const OPENID = /^[\w-]{1,128}$/
/** Hex digits of its hash that distinguish another message under the same MsgId. */
const OTHER_DIGITS = 16

export interface PushChannelOptions {
  apps: Apps
  queries: PushQueries
  users: Pick<Users, 'erase'>
}

export class PushChannel implements Channel {
  readonly name = 'push'
  readonly success = SUCCESS
  readonly failure = REFUSED
  /** What could not be read is success, too: the same bytes once more would not be read either. */
  readonly statuses = { success: 200, refused: 403, compressed: 403, unknownMerchant: 403, quarantined: 200 }
  readonly logsFailure = true
  readonly #options: PushChannelOptions

  constructor(options: PushChannelOptions) {
    this.#options = options
  }

  readonly proofOf = ({ query }: Callback) => ({ query: signedParameters(query) })

  async read({ owner, query, body, receivedAt }: Callback): Promise<Reading> {
    const app = this.#findApp(owner)
    if (app === undefined) return refused('appid')
    const push = openPush(app, readQuery(query), body, receivedAt)
    switch (push.status) {
      case 'opened':
        return this.#readOpened(app, push, receivedAt)
      case 'unreadable':
        return this.#readUnreadable(app, push, body)
      case 'refused':
        return refused(push.reason)
    }
  }

  /**
   * Without an AES key the query of a check could carry any message afterwards, so it is used up first; with one,
   * bodies have a signature of their own.
   */
  async check({ owner, query }: Callback): Promise<Reading> {
    const app = this.#findApp(owner)
    const token = app?.pushToken
    if (app === undefined || token === undefined) return refused('appid')
    const { timestamp, nonce, signature = '', echostr = '' } = readQuery(query) ?? {}
    if (timestamp === undefined || nonce === undefined || echostr === '') return refused('query')
    if (!verifyPush([token, timestamp, nonce], signature)) return refused('signature')
    const encrypted = app.pushAesKey !== undefined
    const claim = () => this.#claim(owner, { encrypted, signature }, URL_CHECK)
    return { finding: { status: 'checked' }, success: echo(echostr), claim }
  }

  #readOpened(app: App, push: OpenedPush, atMs: number): Reading {
    const { appid } = app
    const { message } = push
    const kind = (message.event ?? message.msgType).slice(0, MOST_SHOWN).replace(UNSHOWN, '?')
    return {
      finding: { ...eventsOf(appid, message), recorded: () => this.#eraseIfCancelled(appid, message) },
      log: { kind },
      // Made before the write: nothing after it may fail the answer.
      success: accept(push, app, atMs),
      busy: postpone(push),
      claim: () => this.#claim(appid, push, message.contentHash)
    }
  }

  #readUnreadable({ appid }: App, push: UnreadablePush, body: Buffer): Reading {
    const { reason, encrypted, contentHash } = push
    if (!encrypted && body.length > MOST_PLAIN_BYTES) return refused('size')
    // The bytes that were read, which every try has; in plain mode one of 4096 places of the app.
    const name = encrypted ? contentHash : `plain_${contentHash.slice(0, PLAIN_DIGITS)}`
    const finding = { status: 'quarantined', id: `push_${appid}_${name}`, reason } as const
    return { finding, claim: () => this.#claim(appid, push, contentHash) }
  }

  /** In plain mode a query is good for one message alone. */
  async #claim(
    appid: string,
    { encrypted, signature }: Pick<OpenedPush, 'encrypted' | 'signature'>,
    use: string
  ): Promise<CallbackReason | undefined> {
    const isOwn = encrypted || (await this.#options.queries.bind(appid, signature, use))
    return isOwn ? undefined : 'replay'
  }

  /** Of a repeat too: what was recorded before may have failed to be erased. */
  async #eraseIfCancelled(appid: string, { isCancellation, subject = '' }: PushMessage): Promise<void> {
    if (isCancellation && OPENID.test(subject)) await this.#options.users.erase({ appid, openid: subject })
  }

  #findApp(appid: string): App | undefined {
    const { apps } = this.#options
    return apps.knows(appid) ? apps.pick(appid) : undefined
  }
}

const refused = (reason: CallbackReason): Reading => ({ finding: { status: 'refused', reason } })

/** WeChat's MsgId is a message's identity, but one MsgId may come with several messages. */
function eventsOf(appid: string, message: PushMessage): EventFinding {
  const { msgId, contentHash } = message
  const id = `msg_${appid}_${msgId ?? contentHash}`
  const otherwise = eventOf(`${id}_${contentHash.slice(0, OTHER_DIGITS)}`, appid, message)
  return { status: 'event', event: eventOf(id, appid, message), otherwise }
}

/** Version 0.1 did not distinguish messages of one id: what it recorded counts as this one. */
function eventOf(id: string, appid: string, message: PushMessage): Event {
  const { openid, msgType, event, createTime, contentHash, raw } = message
  return {
    id,
    type: 'message.received',
    timestamp: createTime,
    data: { appid, openid, msgType, event, createTime, raw },
    content: contentHash,
    formerContent: id,
    lowPriority: true
  }
}
