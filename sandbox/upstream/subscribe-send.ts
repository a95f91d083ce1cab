/** POST /cgi-bin/message/subscribe/send: a message to a user who asked for it. */
import { Refusal } from '../wire/errcodes.ts'
import { isObject } from '../wire/json.ts'
import { makeMessageId } from '../wire/random.ts'
import type { World } from '../world.ts'
import { fieldsOf, managed, needText } from './managed.ts'
import { isPublished } from './qr-code.ts'
import { secured } from './secured.ts'
import { textOf } from './weixin.ts'

/** Every entry is `{value}`, a `thing` of at most 20 characters. The errmsg names the field that is not. */
function checkData(data: unknown): void {
  if (!isObject(data)) throw new Refusal(47001, 'data format error, data missing')
  for (const [name, entry] of Object.entries(data)) {
    const value = isObject(entry) ? String(entry.value ?? '') : ''
    const tooLong = name.startsWith('thing') && [...value].length > 20
    if (value === '' || tooLong) throw new Refusal(47003, `argument invalid! data.${name}.value invalid`)
  }
}

function send(world: World, appid: string, fields: Record<string, unknown>): object {
  const user = world.users.find(appid, needText(fields, 'touser'))
  if (user === undefined) throw new Refusal(40003)
  needText(fields, 'template_id')
  checkData(fields.data)
  const [page] = (textOf(fields.page) ?? '').split('?')
  if (page && !isPublished(world.apps.get(appid), page)) throw new Refusal(41030)
  if (user.refusesMessages === true) throw new Refusal(43101)
  return { errcode: 0, errmsg: 'ok', msgid: makeMessageId() }
}

export const subscribeSend = secured(
  managed({
    api: 'subscribe_send',
    url: '/cgi-bin/message/subscribe/send',
    method: 'POST',
    work: (world, appid, request) => send(world, appid, fieldsOf(request))
  })
)
