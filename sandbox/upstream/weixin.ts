/**
 * What all APIs of api.weixin.qq.com share: JSON in, JSON out, and errors as errcode and errmsg with HTTP status 200.
 */
import { Refusal } from '../wire/errcodes.ts'
import { readObject, writeJson } from '../wire/json.ts'
import { Picture } from '../wire/pictures.ts'
import type { World } from '../world.ts'
import type { Answer, Incoming, Upstream } from './serve.ts'

export interface Weixin extends Pick<Upstream, 'api' | 'url' | 'bodyLimitBytes' | 'describe'> {
  /** Default application/json; code2Session labels its JSON text/plain. */
  contentType?: string
  /** The fields of a success, or a picture. Throws Refusal. */
  work(world: World, request: Incoming): object
}

const JSON_TYPE = 'application/json; charset=UTF-8'

export function weixin({ contentType = JSON_TYPE, work, ...rest }: Weixin): Upstream {
  return {
    ...rest,
    answer(world, request) {
      try {
        return successAnswer(work(world, request), contentType)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        return refusalAnswer(world, error, contentType)
      }
    },
    refuse(world, _request, { errcode, errmsg }) {
      return refusalAnswer(world, new Refusal(Number(errcode ?? -1), errmsg), contentType)
    }
  }
}

function successAnswer(result: object, contentType: string): Answer {
  if (result instanceof Picture) return { contentType: result.contentType, body: result.bytes, errcode: 0 }
  return { contentType, body: writeJson(result), errcode: 0 }
}

export function refusalAnswer(world: World, refusal: Refusal, contentType = JSON_TYPE): Answer {
  return { contentType, body: writeJson(refusal.toBody(world.now())), errcode: refusal.errcode }
}

/** A parameter of the query; one that is repeated counts as absent. */
export function queryText(request: Incoming, name: string): string | undefined {
  const value = (request.query as Record<string, unknown>)[name]
  return typeof value === 'string' ? value : undefined
}

/** The body as a JSON object, whatever its Content-Type says; undefined where it is none. */
export function jsonBody(request: Incoming): Record<string, unknown> | undefined {
  return Buffer.isBuffer(request.body) ? readObject(request.body.toString('utf8')) : undefined
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
