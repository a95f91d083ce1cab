/**
 * The API security mode around an API that supports it. It decrypts the request for the API, and encrypts the answer.
 */
import type { Fault } from '../state/faults.ts'
import { Refusal } from '../wire/errcodes.ts'
import type { World } from '../world.ts'
import { received } from './managed.ts'
import { sealAnswer } from './secured-answer.ts'
import { openRequest } from './secured-request.ts'
import type { Answer, Incoming, Upstream } from './serve.ts'
import { queryText, refusalAnswer } from './weixin.ts'

/** Errors before decryption are answered in plain: a bad token, and everything that is wrong with headers or keys. */
const PLAIN_ERRCODES = new Set<unknown>([40001, 40014, 41001, 42001])
for (let errcode = 40230; errcode <= 40240; errcode += 1) PLAIN_ERRCODES.add(errcode)

type Ask = (request: Incoming) => Answer

export function secured(upstream: Upstream): Upstream {
  return {
    ...upstream,
    answer(world, request, fault) {
      return through(world, upstream, request, fault, (inner) => upstream.answer(world, inner))
    },
    refuse(world, request, fault) {
      if (PLAIN_ERRCODES.has(fault.errcode)) return upstream.refuse(world, request, fault)
      return through(world, upstream, request, fault, (inner) => upstream.refuse(world, inner, fault))
    }
  }
}

/** A request without a live token is the API's own to refuse: nobody knows whose keys would be meant. */
function through(world: World, upstream: Upstream, request: Incoming, fault: Fault | undefined, ask: Ask): Answer {
  const appid = callerOf(world, request)
  if (appid === undefined) return ask(request)
  try {
    const opened = openRequest(world, upstream.url, appid, request)
    if (opened === undefined) return ask(request)
    const sealed = sealAnswer(world, opened, ask(opened.inner), fault?.apiSecurity)
    const noted = { ...upstream.describe(world, opened.inner), received: received(request), decrypted: opened.names }
    return { ...sealed, noted }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return refusalAnswer(world, error)
  }
}

function callerOf({ tokens }: World, request: Incoming): string | undefined {
  try {
    return tokens.appidOf(queryText(request, 'access_token'))
  } catch {
    return undefined
  }
}
