/** Carries one push to its URL and brings back whatever was answered. */
import { request } from 'undici'
import type { World } from '../world.ts'
import type { Parcel } from './push-parcel.ts'

/** WeChat closes the connection after 5 s. */
const TIMEOUT_MS = 5000

export interface PushAnswer {
  /** With the query that was sent. */
  url: string
  /** 0: no answer came. */
  status: number
  /** Names in lower case. */
  headers: Record<string, string>
  body: string
  /** Why status is 0. */
  error?: string
}

/** Never throws: a failure is a result. */
export async function sendPush(
  { dispatcher, closing }: World,
  method: 'GET' | 'POST',
  target: string,
  { query, contentType, body }: Parcel
): Promise<PushAnswer> {
  const url = `${target}${target.includes('?') ? '&' : '?'}${new URLSearchParams(query)}`
  try {
    const response = await request(url, {
      method,
      headers: { 'user-agent': 'Mozilla/4.0', ...(method === 'POST' && { 'content-type': contentType }) },
      body: method === 'POST' ? body : null,
      dispatcher,
      signal: AbortSignal.any([closing.signal, AbortSignal.timeout(TIMEOUT_MS)])
    })
    const headers = Object.entries(response.headers).map(([name, value]) => [name, String(value)])
    return {
      url,
      status: response.statusCode,
      headers: Object.fromEntries(headers),
      body: await response.body.text()
    }
  } catch (error) {
    return { url, status: 0, headers: {}, body: '', error: reasonOf(error) }
  }
}

/** undici has the system's message in `cause`. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? `${error.code} ` : ''
  const cause = error.cause === undefined ? '' : `: ${reasonOf(error.cause)}`
  return `${code}${error.message || error.name}${cause}`
}
