/** Posts notices to the merchant and brings back what was answered, whatever it was. */
import { request } from 'undici'
import type { World } from '../world.ts'

/** WeChat waits 5 s. */
const TIMEOUT_MS = 5000

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

/** One notice to each target; at once, or each after the answer to the one before. Never throws: a failure is a result. */
export async function deliver(
  world: World,
  targets: string[],
  notice: Notice,
  concurrent: boolean
): Promise<NoticeResult[]> {
  if (concurrent) return Promise.all(targets.map((url) => deliverOne(world, url, notice)))
  const results: NoticeResult[] = []
  for (const url of targets) results.push(await deliverOne(world, url, notice))
  return results
}

async function deliverOne(
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

/** undici hides the system's words in `cause`, or in the parts of an AggregateError. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? `${error.code} ` : ''
  const cause = error.cause === undefined ? '' : `: ${reasonOf(error.cause)}`
  return `${code}${error.message || error.name}${cause}`.trim()
}
