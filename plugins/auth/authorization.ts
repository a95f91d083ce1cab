/** What the Authorization header holds. */
import type { FastifyRequest } from 'fastify'
import { ServiceError } from '../../lib/errors.ts'

/** What follows `Authorization: Bearer`. Throws TOKEN_MISSING, TOKEN_INVALID. */
export function bearer({ headers }: FastifyRequest): string {
  const { authorization } = headers
  if (authorization === undefined || /^(Bearer)? *$/i.test(authorization)) throw new ServiceError('TOKEN_MISSING')
  const [, token] = /^Bearer +(\S+) *$/i.exec(authorization) ?? []
  if (token === undefined)
    throw new ServiceError('TOKEN_INVALID', { message: 'Authorization has to be "Bearer <token>"' })
  return token
}

/**
 * The password of an `Authorization: Basic …` header (RFC 7617), whatever the user name; undefined for any other
 * header. It is the one way in which a browser by itself sends a secret with every request.
 */
export function basicPassword(authorization: string): string | undefined {
  const [, encoded] = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization) ?? []
  if (encoded === undefined) return undefined
  const [, password] = /^[^:]*:(.*)$/s.exec(Buffer.from(encoded, 'base64').toString()) ?? []
  return password
}
