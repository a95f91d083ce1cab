/** The path and query at WeChat of a call passed on, as they were written: the router knows only decoded ones. */
import type { FastifyRequest } from 'fastify'

/** Of /internal/apps/{appid}/wechat. */
const OUR_SEGMENTS = 4

const isPath = (part: string): boolean => new URLSearchParams(part).has('path')

function queryOf(url: string): string {
  const mark = url.indexOf('?')
  return mark === -1 ? '' : (url.slice(mark + 1).split('#', 1)[0] ?? '')
}

/** The address from WeChat's path on; undefined where its query names a second path. */
export function targetInPath({ raw: { url = '' } }: FastifyRequest): string | undefined {
  if (queryOf(url).split('&').some(isPath)) return undefined
  let at = url.startsWith('/') ? 0 : url.indexOf('/', url.indexOf('://') + 3)
  for (let segment = 0; segment < OUR_SEGMENTS; segment += 1) at = url.indexOf('/', at + 1)
  return url.slice(at)
}

/**
 * The path that the query names, followed by the rest of the query as it came. It is decoded once and is then what
 * would stand in the address; undefined where it could not stand there, or would mean something else once decoded
 * again.
 */
export function targetInQuery({ raw: { url = '' } }: FastifyRequest, isAllowed: RegExp): string | undefined {
  const parts = queryOf(url).split('&')
  const path = decode(parts.find(isPath)?.replace(/^[^=]*=/, '') ?? '')
  const decoded = path === undefined ? undefined : decode(path)
  if (path === undefined || decoded === undefined || /[?#]/.test(path) || !isAllowed.test(decoded)) return undefined
  const rest = parts.filter((part) => !isPath(part)).join('&')
  return `/${path.replace(/[^!-~]+/gu, encodeURIComponent)}${rest === '' ? '' : `?${rest}`}`
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
