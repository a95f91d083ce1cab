/** What the APIs of api.weixin.qq.com have in common: JSON in, JSON out, errors as errcode and errmsg with HTTP status 200. */
import type { FastifyRequest } from 'fastify'
import { Refusal } from '../wire/errcodes.ts'
import type { World } from '../world.ts'
import type { Answer, Upstream } from './serve.ts'

interface Weixin extends Pick<Upstream, 'api' | 'url' | 'describe'> {
  /** Default application/json; code2Session labels its JSON text/plain. */
  contentType?: string
  /** The fields of a success. Throws Refusal. */
  work(world: World, request: FastifyRequest): object
}

export function weixin({ contentType = 'application/json; charset=UTF-8', work, ...rest }: Weixin): Upstream {
  const answer = (body: object, errcode: number): Answer => ({ contentType, body: JSON.stringify(body), errcode })
  return {
    ...rest,
    answer(world, request) {
      try {
        return answer(work(world, request), 0)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        return answer(error.toBody(world.now()), error.errcode)
      }
    },
    refuse(world, _request, { errcode, errmsg }) {
      const refusal = new Refusal(Number(errcode ?? -1), errmsg)
      return answer(refusal.toBody(world.now()), refusal.errcode)
    }
  }
}

/** A parameter of the query; one that is repeated counts as absent. */
export function queryText(request: FastifyRequest, name: string): string | undefined {
  const value = (request.query as Record<string, unknown>)[name]
  return typeof value === 'string' ? value : undefined
}

/** The body as a JSON object, whatever its Content-Type says; undefined where it is none. */
export function jsonBody(request: FastifyRequest): Record<string, unknown> | undefined {
  if (!Buffer.isBuffer(request.body)) return undefined
  try {
    const value: unknown = JSON.parse(request.body.toString('utf8'))
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** The given fields without those that are undefined. */
export function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}
