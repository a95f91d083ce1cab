/** GET /sns/jscode2session: a login code against openid and session_key. */
import type { User } from '../state/users.ts'
import { Refusal } from '../wire/errcodes.ts'
import type { World } from '../world.ts'
import type { Incoming } from './serve.ts'
import { present, queryText, textOf, weixin } from './weixin.ts'

interface Login {
  appid: string
  code: string
}

/** Checks in this order: missing parameters, grant type, account, secret. Parameters of a POST are not seen at all. */
function readLogin(world: World, request: Incoming): Login {
  const parameter = (name: string) => (request.method === 'POST' ? undefined : textOf(queryText(request, name)))
  const appid = parameter('appid')
  if (appid === undefined) throw new Refusal(41002)
  const secret = parameter('secret')
  if (secret === undefined) throw new Refusal(41004)
  const code = parameter('js_code')
  if (code === undefined) throw new Refusal(41008)
  if (parameter('grant_type') !== 'authorization_code') throw new Refusal(40002)
  const app = world.apps.get(appid)
  if (app === undefined) throw new Refusal(40013)
  if (app.secret !== secret) throw new Refusal(40125)
  return { appid, code }
}

/** A code of another app stays usable there. */
function useCode({ loginCodes }: World, { appid, code }: Login): User {
  const found = loginCodes.find(code)
  if (found === undefined || found.about.appid !== appid) throw new Refusal(40029)
  if (found.used) throw new Refusal(40163)
  if (loginCodes.isExpired(found)) throw new Refusal(40029)
  found.used = true
  return found.about
}

export const code2session = weixin({
  api: 'code2session',
  url: '/sns/jscode2session',
  contentType: 'text/plain',
  describe: (_world, request) => present({ appid: queryText(request, 'appid'), code: queryText(request, 'js_code') }),
  work(world, request) {
    const login = readLogin(world, request)
    const user = useCode(world, login)
    const session = { session_key: user.sessionKey ?? world.users.renewSessionKey(user), openid: user.openid }
    return world.apps.get(login.appid)?.unionids === true ? { ...session, unionid: user.unionid } : session
  }
})
