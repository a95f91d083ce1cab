/** The guards of the merchant's backend: one of INTERNAL_API_KEYS, with a scope for the call. */
import { hash, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import { ServiceError } from '../../lib/errors.ts'
import type { ApiKey, KeyScope } from '../../lib/settings/api-keys.ts'
import { basicPassword, bearer } from './authorization.ts'

const digest = (text: string) => hash('sha256', text, 'buffer')

type ReadKey = (request: FastifyRequest) => string

/**
 * Lets through who has a key with one of `scopes`, and names the caller for the log. Throws TOKEN_MISSING,
 * TOKEN_INVALID, KEY_SCOPE. Digests are compared, and all of them, so that the time taken tells nothing of any key.
 */
export function apiKeyGuard(
  keys: readonly ApiKey[],
  scopes: readonly KeyScope[],
  readKey: ReadKey = bearer
): onRequestAsyncHookHandler {
  const known = keys.map((apiKey) => ({ ...apiKey, digest: digest(apiKey.key) }))
  return async (request) => {
    const given = digest(readKey(request))
    const [match] = known.filter((apiKey) => timingSafeEqual(apiKey.digest, given))
    if (match === undefined) throw new ServiceError('TOKEN_INVALID', { message: 'This API key is not one of ours' })
    request.caller = match.name
    if (!scopes.some((scope) => match.scopes.includes(scope)))
      throw new ServiceError('KEY_SCOPE', {
        message: `This call needs an API key with the scope ${scopes.join(' or ')}`
      })
  }
}

/**
 * A browser asks its user for a name and a password when it is told so, and sends both along from then on; the key is
 * the password.
 */
export function docsGuard(keys: readonly ApiKey[], scopes: readonly KeyScope[]): onRequestAsyncHookHandler {
  const check = apiKeyGuard(
    keys,
    scopes,
    (request) => basicPassword(request.headers.authorization ?? '') ?? bearer(request)
  )
  return async function (request, reply) {
    try {
      await check.call(this, request, reply)
    } catch (error) {
      reply.header('www-authenticate', 'Basic realm="wxgate docs"')
      throw error
    }
  }
}
