/** POST /cgi-bin/stable_token: the access_token. */
import { Refusal } from '../wire/errcodes.ts'
import type { World } from '../world.ts'
import type { Incoming } from './serve.ts'
import { jsonBody, present, textOf, weixin } from './weixin.ts'

interface Demand {
  appid: string
  force: boolean
}

/**
 * The pages name two errcodes for a wrong secret. Here 40125 is for a text that cannot be a secret of WeChat's (which
 * has 32 characters), and 40001 for one that could be. So a gateway gets both.
 */
function wrongSecret(secret: string): Refusal {
  return secret.length === 32
    ? new Refusal(40001, 'invalid credential, appsecret is invalid or not latest')
    : new Refusal(40125)
}

function readDemand(world: World, request: Incoming): Demand {
  if (request.method !== 'POST') throw new Refusal(43002)
  const body = jsonBody(request)
  if (body === undefined) throw new Refusal(47001)
  if (body.grant_type !== 'client_credential') throw new Refusal(40002)
  const appid = textOf(body.appid)
  if (appid === undefined) throw new Refusal(41002)
  const secret = textOf(body.secret)
  if (secret === undefined) throw new Refusal(41004)
  const app = world.apps.get(appid)
  if (app === undefined) throw new Refusal(40013)
  if (app.secret !== secret) throw wrongSecret(secret)
  return { appid, force: body.force_refresh === true }
}

export const stableToken = weixin({
  api: 'stable_token',
  url: '/cgi-bin/stable_token',
  describe(_world, request) {
    const body = jsonBody(request)
    return present({ appid: textOf(body?.appid), forceRefresh: body?.force_refresh === true ? true : undefined })
  },
  work(world, request) {
    const { appid, force } = readDemand(world, request)
    return force ? world.tokens.force(appid) : world.tokens.ask(appid)
  }
})
