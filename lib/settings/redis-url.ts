/** The shape of `REDIS_URL`: five forms, so that a slip stops the start instead of ending in endless reconnects. */

import { decodePercent } from '../util/percent.ts'
import { isWholeUpTo, readUrl } from './text.ts'

const FORM = /^(rediss?|redis\+sentinel|redis\+cluster):\/\/(?:([^\s/?#@]*)@)?([^\s/?#@]+)(?:\/([^\s/?#@]*))?$/
const UNIX = /^unix:\/[^\s?#]+$/
const NODE = /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d+)$/

/**
 * Answers the text itself. No query in any form: ioredis would take it for options and so override ours.
 * User and password may stand before the first host in every form but `unix:`.
 */
export function readRedisUrl(text: string): string | undefined {
  if (UNIX.test(text)) return text
  const match = FORM.exec(text)
  if (match === null) return undefined
  const [, scheme = '', credentials = '', hosts = '', path = ''] = match
  return decodePercent(credentials) !== undefined && isTarget(scheme, hosts, path) ? text : undefined
}

function isTarget(scheme: string, hosts: string, path: string): boolean {
  if (scheme === 'redis+sentinel') return areNodes(hosts) && /^[A-Za-z0-9._-]+$/.test(path)
  if (scheme === 'redis+cluster') return areNodes(hosts) && path === ''
  return /^\d{0,5}$/.test(path) && !hosts.includes(',') && readUrl(`redis://${hosts}`) !== undefined
}

/** A port is required: Sentinels and cluster nodes have different usual ones, and guessing looks like an outage. */
function areNodes(hosts: string): boolean {
  return hosts.split(',').every((host) => isWholeUpTo(NODE.exec(host)?.[1] ?? '', 65535))
}
