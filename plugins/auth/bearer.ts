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
