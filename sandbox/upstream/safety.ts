/** POST /wxa/msg_sec_check and /wxa/getuserriskrank: WeChat's opinion of a text and of a user. It is always good. */
import { randomUUID } from 'node:crypto'
import { Refusal } from '../wire/errcodes.ts'
import type { World } from '../world.ts'
import { fieldsOf, managed, needText } from './managed.ts'
import { secured } from './secured.ts'

/** 40003 for an openid that nobody has, 43104 for one of another app. */
function checkUser({ users }: World, appid: string, openid: string): void {
  if (users.find(appid, openid) !== undefined) return
  throw new Refusal(users.belongsElsewhere(appid, openid) ? 43104 : 40003)
}

function checkScene(scene: unknown, from: number, to: number): void {
  if (!Number.isInteger(scene) || Number(scene) < from || Number(scene) > to) throw new Refusal(40129)
}

export const messageCheck = secured(
  managed({
    api: 'msg_sec_check',
    url: '/wxa/msg_sec_check',
    method: 'POST',
    work(world, appid, request) {
      const fields = fieldsOf(request)
      needText(fields, 'content')
      if (fields.version !== 2) throw new Refusal(47001, 'data format error, version must be 2')
      checkScene(fields.scene, 1, 4)
      checkUser(world, appid, needText(fields, 'openid'))
      const verdict = { suggest: 'pass', label: 100 }
      const detail = [{ strategy: 'content_model', errcode: 0, ...verdict, prob: 90 }]
      return { errcode: 0, errmsg: 'ok', result: verdict, detail, trace_id: randomUUID() }
    }
  })
)

/** `unoin_id` is WeChat's spelling. */
export const userRiskRank = secured(
  managed({
    api: 'getuserriskrank',
    url: '/wxa/getuserriskrank',
    method: 'POST',
    work(world, appid, request) {
      const fields = fieldsOf(request)
      if (needText(fields, 'appid') !== appid) throw new Refusal(40013)
      checkScene(fields.scene, 0, 2)
      needText(fields, 'client_ip')
      checkUser(world, appid, needText(fields, 'openid'))
      return { errcode: 0, errmsg: 'getuserriskrank succ', risk_rank: 0, unoin_id: 2258658297 }
    }
  })
)
