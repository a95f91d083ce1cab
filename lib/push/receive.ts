/** What becomes of a push at our door: the rows of table 9.2 in mini-program.md, up to the answer. */
import type { Quarantine } from '../callbacks/quarantine.ts'
import { type Retry, retrying } from '../callbacks/retry.ts'
import type { Durability } from '../events/durability.ts'
import type { EventRecorder } from '../events/queue.ts'
import type { Meters } from '../metrics/meters.ts'
import type { Users } from '../sessions/users.ts'
import type { App } from '../settings.ts'
import type { Apps } from '../wechat/apps.ts'
import { type Answer, accept, echo, postpone, REFUSED, SUCCESS } from './answer.ts'
import {
  type OpenedPush,
  openPush,
  type PushRefusal,
  readQuery,
  signedParameters,
  type UnreadablePush
} from './open.ts'
import { type PushQueries, URL_CHECK } from './queries.ts'
import { type RecordedMessage, recordMessage } from './record.ts'
import { verifyPush } from './sign.ts'

type Query = Readonly<Record<string, unknown>>

/** Characters of a name that the log shows: they are WeChat's words, and short. */
const MOST_SHOWN = 64
const UNSHOWN = /[^\w.:-]/g
/**
 * In plain mode nobody signs the body, so that there is an end to what is kept: 4096 bodies of an app, each no larger.
 */
const PLAIN_DIGITS = 3
const MOST_PLAIN_BYTES = 128 * 1024
const OPENID = /^[\w-]{1,128}$/

export interface PushOutcome {
  /**
   * quarantined: authentic, but no message that we could read. failed: right, but nobody knows whether Redis holds it;
   * `cause` says why.
   */
  verdict: 'checked' | 'recorded' | 'duplicate' | 'quarantined' | 'refused' | 'failed'
  /** For log and metrics, never for the answer; as the next ones. */
  reason?: PushRefusal | UnreadablePush['reason']
  /** The webhook-id, or what the quarantine knows it by. */
  id?: string
  /** Event, or MsgType where it is none. */
  kind?: string
  cause?: unknown
  answer: Answer
}

export interface Pushes {
  /** The URL check of the console: verifies, and echoes. Never throws. */
  check(appid: string, query: Query): Promise<PushOutcome>
  /** Verifies, opens and records one push. Never throws. */
  receive(appid: string, query: Query, body: Buffer): Promise<PushOutcome>
  /** The same once more with what was kept in quarantine, by the clock of then. */
  retry: Retry
  /** What to answer where no verdict was reached. */
  refusal: Answer
}

export interface PushesOptions {
  apps: Apps
  events: Pick<EventRecorder, 'record'>
  queries: PushQueries
  quarantine: Quarantine
  /** Where what is acknowledged has to be on disk first. */
  durability: Durability | undefined
  users: Pick<Users, 'erase'>
  meters: Pick<Meters, 'callback'>
  /** Milliseconds since 1970. */
  now: () => number
}

export function createPushes(options: PushesOptions): Pushes {
  const { meters, now } = options
  const judge = createJudge(options)
  // What its query was used for was settled when it came.
  const judgeAgain = createJudge({ ...options, ...retrying, queries: { bind: async () => true } })

  function counted(outcome: PushOutcome): PushOutcome {
    meters.callback('push', outcome.verdict, outcome.reason)
    return outcome
  }

  return {
    refusal: REFUSED,
    check: async (appid, query) => counted(await judgeCheck(options, appid, query)),
    receive: async (appid, query, body) => counted(await judge(appid, query, body, now())),
    async retry({ owner, query, body, receivedAt }) {
      const { verdict, reason, id, cause } = await judgeAgain(owner, query, body, receivedAt)
      if (verdict === 'failed') throw cause
      return { verdict, ...(reason !== undefined && { reason }), ...(id !== undefined && { id }) }
    }
  }
}

const findApp = (apps: Apps, appid: string): App | undefined => (apps.knows(appid) ? apps.pick(appid) : undefined)

/**
 * Without an AES key the query of a check could carry any message afterwards, so it is used up first; with one, bodies
 * have a signature of their own.
 */
async function judgeCheck({ apps, queries }: PushesOptions, appid: string, query: Query): Promise<PushOutcome> {
  const app = findApp(apps, appid)
  const token = app?.pushToken
  if (app === undefined || token === undefined) return refuse('appid')
  const { timestamp, nonce, signature = '', echostr = '' } = readQuery(query) ?? {}
  if (timestamp === undefined || nonce === undefined || echostr === '') return refuse('query')
  if (!verifyPush([token, timestamp, nonce], signature)) return refuse('signature')
  try {
    const isOwnQuery = app.pushAesKey !== undefined || (await queries.bind(appid, signature, URL_CHECK))
    return isOwnQuery ? { verdict: 'checked', answer: echo(echostr) } : refuse('replay')
  } catch (cause) {
    return { verdict: 'failed', cause, answer: REFUSED }
  }
}

type Judge = (appid: string, query: Query, body: Buffer, atMs: number) => Promise<PushOutcome>

function createJudge({ apps, events, queries, quarantine, durability, users }: PushesOptions): Judge {
  const isOwnQuery = async (appid: string, { encrypted, signature, use }: QueryUse): Promise<boolean> =>
    encrypted || queries.bind(appid, signature, use)

  /** undefined where the query is another message's. */
  async function store(appid: string, { message, ...push }: OpenedPush): Promise<RecordedMessage | undefined> {
    if (!(await isOwnQuery(appid, { ...push, use: message.contentHash }))) return undefined
    const stored = await recordMessage(events, appid, message)
    const { isCancellation, subject = '' } = message
    // Of a repeat too: what was recorded before may have failed to be erased.
    if (isCancellation && OPENID.test(subject)) await users.erase({ appid, openid: subject })
    return stored
  }

  async function storeOrPostpone(app: App, push: OpenedPush, atMs: number): Promise<PushOutcome> {
    const kind = (push.message.event ?? push.message.msgType).slice(0, MOST_SHOWN).replace(UNSHOWN, '?')
    // Made before the write: nothing after it may fail the answer.
    const answer = accept(push, app, atMs)
    try {
      const stored = await store(app.appid, push)
      return stored === undefined ? refuse('replay') : { ...stored, kind, answer }
    } catch (cause) {
      return { verdict: 'failed', kind, cause, answer: postpone(push) }
    }
  }

  /** WeChat is told success: the same bytes once more would not be read either. */
  async function setAside(appid: string, push: UnreadablePush, query: Query, body: Buffer): Promise<PushOutcome> {
    const { reason, encrypted } = push
    if (!encrypted && body.length > MOST_PLAIN_BYTES) return refuse('size')
    const identity = quarantineIdentity(appid, push)
    try {
      if (!(await isOwnQuery(appid, { ...push, use: push.contentHash }))) return refuse('replay')
      const confirm = await durability?.begin()
      const kept = { identity, door: 'push', reason, owner: appid, body, query: signedParameters(query) } as const
      await quarantine.put(kept)
      await confirm?.()
      return { verdict: 'quarantined', reason, id: identity, answer: SUCCESS }
    } catch (cause) {
      return { verdict: 'failed', reason, cause, answer: REFUSED }
    }
  }

  return async (appid, query, body, atMs) => {
    const app = findApp(apps, appid)
    if (app === undefined) return refuse('appid')
    const opened = openPush(app, readQuery(query), body, atMs)
    switch (opened.status) {
      case 'opened':
        return storeOrPostpone(app, opened, atMs)
      case 'unreadable':
        return setAside(appid, opened, query, body)
      case 'refused':
        return refuse(opened.reason)
    }
  }
}

interface QueryUse {
  encrypted: boolean
  signature: string
  /** The hash of the message that it came with. */
  use: string
}

/** The bytes that were read, which every try has; in plain mode one of 4096 places of the app. */
const quarantineIdentity = (appid: string, { encrypted, contentHash }: UnreadablePush): string =>
  encrypted ? `push_${appid}_${contentHash}` : `push_${appid}_plain_${contentHash.slice(0, PLAIN_DIGITS)}`

const refuse = (reason: PushRefusal): PushOutcome => ({ verdict: 'refused', reason, answer: REFUSED })
