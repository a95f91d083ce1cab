/** Which scopes of an API key open a route of the merchant's backend. */
import type { RouteOptions } from 'fastify'
import { KEY_SCOPES, type KeyScope } from '../../lib/settings/api-keys.ts'

const READING = ['GET', 'HEAD']

/**
 * A route's own scope, and `read` where it only reads. What it reads of scope `wechat` are WeChat's answers and the
 * access token, which can do everything: there `read` does not suffice.
 */
export function scopesOpening(keyScope: KeyScope, method: RouteOptions['method']): readonly KeyScope[] {
  const onlyReads = [method].flat().every((each) => READING.includes(each))
  return KEY_SCOPES.filter((scope) => scope === keyScope || (scope === 'read' && onlyReads && keyScope !== 'wechat'))
}
