/** Posts notices to the merchant and brings back what was answered, whatever it was. */
import { type Static, Type } from '@sinclair/typebox'
import { request } from 'undici'
import { pause, type World } from '../world.ts'

/** WeChat waits 5 s. */
const TIMEOUT_MS = 5000

const MINUTE = 60
const HOUR = 3600
/** Pauses before the repeats of a notice that was not taken, in seconds: 24 h 4 min in all. */
export const RETRY_PAUSES_SECONDS: readonly number[] = [
  ...[15, 15, 30],
  ...[3, 10, 20, 30, 30, 30].map((minutes) => minutes * MINUTE),
  ...[1, 3, 3, 3, 6, 6].map((hours) => hours * HOUR)
]

export interface NoticeResult {
  url: string
  /** 0: no answer came. */
  status: number
  contentType: string
  body: string
  /** Why status is 0. */
  error?: string
}

export interface Notice {
  contentType: string
  body: string
  headers?: Record<string, string>
}

/** The input of every act that sends notices: how often, to which URLs, with which pauses. */
export const Delivery = {
  times: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: 1000,
      description: 'notices in all; 0: it happened, but WeChat stays silent; default 1'
    })
  ),
  concurrent: Type.Optional(
    Type.Boolean({ description: 'all notices at once; default: each after the answer to the one before' })
  ),
  notifyUrls: Type.Optional(
    Type.Array(Type.String(), { minItems: 1, description: 'in turn, instead of the notify_url' })
  ),
  retries: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: RETRY_PAUSES_SECONDS.length,
      description: 'repeats of each notice that is not taken, until it is; default 0'
    })
  ),
  retryScale: Type.Optional(
    Type.Number({
      minimum: 0,
      description: "how much of WeChat's pauses (15 s, 15 s, 30 s, 3 min …) passes; default 0: repeats come at once"
    })
  )
}
const DeliveryInput = Type.Object(Delivery)
export type DeliveryInput = Static<typeof DeliveryInput>

export interface Sending {
  /** Used without notifyUrls; undefined: no notice is sent. */
  url: string | undefined
  /** Each try is made anew; the first has the number 0. */
  make: (number: number) => Notice
  /** v2: the body decides; v3: the status. */
  isTaken: (result: NoticeResult) => boolean
}

/** Resolves with the answer to every try. Never throws: a failure is a result. */
export async function deliver(world: World, input: DeliveryInput, sending: Sending): Promise<NoticeResult[]> {
  const { times = 1, concurrent = false, notifyUrls = sending.url === undefined ? [] : [sending.url] } = input
  const targets = Array.from({ length: notifyUrls.length === 0 ? 0 : times }, (_, index) => {
    return notifyUrls[index % notifyUrls.length] ?? ''
  })
  let tries = 0
  const counted = { ...sending, make: () => sending.make(tries++) }
  if (concurrent) return (await Promise.all(targets.map((url) => deliverOne(world, url, input, counted)))).flat()
  const results: NoticeResult[] = []
  for (const url of targets) results.push(...(await deliverOne(world, url, input, counted)))
  return results
}

interface Counted extends Sending {
  make: () => Notice
}

async function deliverOne(
  world: World,
  url: string,
  { retries = 0, retryScale = 0 }: DeliveryInput,
  { make, isTaken }: Counted
): Promise<NoticeResult[]> {
  const results = [await post(world, url, make())]
  for (const seconds of RETRY_PAUSES_SECONDS.slice(0, retries)) {
    const last = results.at(-1)
    if ((last !== undefined && isTaken(last)) || world.closing.signal.aborted) break
    await pause(world, seconds * 1000 * retryScale)
    results.push(await post(world, url, make()))
  }
  return results
}

async function post(
  { dispatcher, closing }: World,
  url: string,
  { contentType, body, headers }: Notice
): Promise<NoticeResult> {
  try {
    const response = await request(url, {
      method: 'POST',
      headers: { 'content-type': contentType, 'user-agent': 'Mozilla/4.0', ...headers },
      body,
      dispatcher,
      signal: AbortSignal.any([closing.signal, AbortSignal.timeout(TIMEOUT_MS)])
    })
    const type = response.headers['content-type']
    return { url, status: response.statusCode, contentType: String(type ?? ''), body: await response.body.text() }
  } catch (error) {
    return { url, status: 0, contentType: '', body: '', error: reasonOf(error) }
  }
}

/** undici has the system's message in `cause`, or in the parts of an AggregateError. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? `${error.code} ` : ''
  const cause = error.cause === undefined ? '' : `: ${reasonOf(error.cause)}`
  return `${code}${error.message || error.name}${cause}`.trim()
}
