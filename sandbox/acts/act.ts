/**
 * An act is something that happens in the WeChat app, or that a test sets up. Each act is a function with an endpoint.
 */
import type { Static, TSchema } from '@sinclair/typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import type { World } from '../world.ts'

/** Thrown by an act that is not possible now. Its endpoint answers with this status and message. */
export class ActError extends Error {
  readonly statusCode: number

  constructor(statusCode: number, message: string) {
    super(message)
    this.statusCode = statusCode
  }
}

/** `POST url`, its body checked against `schema`, so that a misspelt field is an error. */
export function post<S extends TSchema>(
  app: FastifyInstance,
  world: World,
  url: string,
  schema: S,
  act: (world: World, input: Static<S>) => unknown
): void {
  app.post(url, { schema: { body: schema } }, async (request) => act(world, request.body as Static<S>))
}

/** Fields that more than one act takes. */
export const Watermark = {
  watermarkAppid: Type.Optional(Type.String({ description: 'instead of the appid' })),
  watermarkTimestamp: Type.Optional(Type.Integer({ description: 'seconds; instead of now' }))
}

export function watermark(
  world: World,
  appid: string,
  { watermarkAppid, watermarkTimestamp }: { watermarkAppid?: string; watermarkTimestamp?: number }
) {
  return { timestamp: watermarkTimestamp ?? Math.floor(world.now() / 1000), appid: watermarkAppid ?? appid }
}
