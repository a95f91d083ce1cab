/** What becomes of a push at our door: the rows of table 9.2 in mini-program.md, up to the answer. */
import type { EventRecorder } from '../events/queue.ts'
import type { Meters } from '../metrics/meters.ts'
import type { App } from '../settings.ts'
import type { Apps } from '../wechat/apps.ts'
import { type Answer, accept, echo, postpone, REFUSED } from './answer.ts'
import { type OpenedPush, openPush, type PushRefusal, readQuery } from './open.ts'
import type { PushQueries } from './queries.ts'
import { verifyPush } from './sign.ts'

type Query = Readonly<Record<string, unknown>>

/** Characters of a name that the log shows: they are WeChat's words, and short. */
const MOST_SHOWN = 64

export interface PushOutcome {
  /** failed: right, but nobody knows whether Redis holds it; `cause` says why. */
  verdict: 'checked' | 'recorded' | 'duplicate' | 'refused' | 'failed'
  /** For log and metrics, never for the answer; as the next ones. */
  reason?: PushRefusal
  /** The webhook-id. */
  id?: string
  /** Event, or MsgType where it is none. */
  kind?: string
  cause?: unknown
  answer: Answer
}

export interface Pushes {
  /** The URL check of the console: verifies, and echoes. */
  check(appid: string, query: Query): PushOutcome
  /** Verifies, opens and records one push. Never throws. */
  receive(appid: string, query: Query, body: Buffer): Promise<PushOutcome>
  /** What to answer where no verdict was reached. */
  refusal: Answer
}

export interface PushesOptions {
  apps: Apps
  events: Pick<EventRecorder, 'record'>
  queries: PushQueries
  meters: Pick<Meters, 'callback'>
  now: () => number
}

export function createPushes({ apps, events, queries, meters, now }: PushesOptions): Pushes {
  const find = (appid: string): App | undefined => (apps.knows(appid) ? apps.pick(appid) : undefined)

  /** The webhook-id and whether it is new; undefined where the query is another message's. */
  async function store(appid: string, { message, encrypted, signature }: OpenedPush) {
    const isOwnQuery = encrypted || (await queries.bind(appid, signature, message.contentHash))
    if (!isOwnQuery) return undefined
    const { openid, msgType, event, createTime, identity, raw } = message
    const id = `msg_${appid}_${identity}`
    const data = { appid, openid, msgType, ...(event !== undefined && { event }), createTime, raw }
    const recorded = await events.record({
      id,
      type: 'message.received',
      timestamp: createTime,
      data,
      essence: id,
      isPatient: true
    })
    return { id, verdict: recorded === 'recorded' ? ('recorded' as const) : ('duplicate' as const) }
  }

  async function storeOrPostpone(app: App, push: OpenedPush): Promise<PushOutcome> {
    const kind = (push.message.event ?? push.message.msgType).slice(0, MOST_SHOWN)
    // Made before the write: nothing after it may fail the answer.
    const answer = accept(push, app, now())
    try {
      const stored = await store(app.appid, push)
      return stored === undefined ? refuse('replay') : { ...stored, kind, answer }
    } catch (cause) {
      return { verdict: 'failed', kind, cause, answer: postpone(push) }
    }
  }

  function judgeCheck(appid: string, query: Query): PushOutcome {
    const token = find(appid)?.pushToken
    if (token === undefined) return refuse('appid')
    const { timestamp, nonce, signature, echostr = '' } = readQuery(query) ?? {}
    if (timestamp === undefined || nonce === undefined || echostr === '') return refuse('query')
    const isSigned = verifyPush([token, timestamp, nonce], signature)
    return isSigned ? { verdict: 'checked', answer: echo(echostr) } : refuse('signature')
  }

  async function judge(appid: string, query: Query, body: Buffer): Promise<PushOutcome> {
    const app = find(appid)
    if (app === undefined) return refuse('appid')
    const opened = openPush(app, readQuery(query), body, now())
    return opened.status === 'opened' ? storeOrPostpone(app, opened) : refuse(opened.reason)
  }

  function counted(outcome: PushOutcome): PushOutcome {
    meters.callback('push', outcome.verdict, outcome.reason)
    return outcome
  }

  return {
    refusal: REFUSED,
    check: (appid, query) => counted(judgeCheck(appid, query)),
    receive: async (appid, query, body) => counted(await judge(appid, query, body))
  }
}

const refuse = (reason: PushRefusal): PushOutcome => ({ verdict: 'refused', reason, answer: REFUSED })
