/** POST /wxa/business/getuserphonenumber: the button's code against the phone number. */
import { Refusal } from '../wire/errcodes.ts'
import type { PhoneInfo, World } from '../world.ts'
import { secured } from './secured.ts'
import type { Incoming } from './serve.ts'
import { jsonBody, present, queryText, textOf, weixin } from './weixin.ts'

/**
 * The page says that an openid of another user is an error, but not which. 40003 (invalid openid) is a guess. The code
 * stays usable.
 */
function useCode({ phoneCodes }: World, appid: string, code: string, openid: string | undefined): PhoneInfo {
  const found = phoneCodes.find(code)
  if (found === undefined) throw new Refusal(40029)
  const { user, info } = found.about
  if (user.appid !== appid) throw new Refusal(40013)
  if (found.used || phoneCodes.isExpired(found)) throw new Refusal(40029)
  if (openid !== undefined && openid !== user.openid) throw new Refusal(40003)
  found.used = true
  return info
}

function exchange(world: World, request: Incoming): object {
  if (request.method !== 'POST') throw new Refusal(43002)
  const appid = world.tokens.appidOf(queryText(request, 'access_token'))
  const body = jsonBody(request)
  if (body === undefined) throw new Refusal(47001)
  const info = useCode(world, appid, textOf(body.code) ?? '', textOf(body.openid))
  return { errcode: 0, errmsg: 'ok', phone_info: info }
}

export const phoneNumber = secured(
  weixin({
    api: 'getuserphonenumber',
    url: '/wxa/business/getuserphonenumber',
    describe(world, request) {
      const body = jsonBody(request)
      const appid = world.tokens.ownerOf(queryText(request, 'access_token'))
      return present({ appid, openid: textOf(body?.openid), code: textOf(body?.code) })
    },
    work: exchange
  })
)
