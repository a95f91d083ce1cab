/** WeChat Pay's unified order with any answer that a test wants, also answers that the sandbox never gives. */
import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { APPID, MCHID } from '../../helper.ts'
import { listenFor } from '../../listen.ts'
import { type Fields, sign, xml } from '../wechat/notices.ts'

export interface FakeUpstream {
  origin: string
  key: string
  /** The bodies that came, oldest first. */
  asked: string[]
  /** The next answers, in turn; the last one repeats. */
  answer(...bodies: string[]): void
  /** Signed as WeChat signs; `change` comes before signing. */
  signed(change?: Fields): string
}

export async function fakeUpstream(t: Test): Promise<FakeUpstream> {
  const key = randomBytes(16).toString('hex')
  const asked: string[] = []
  let bodies: string[] = []
  const { origin } = await listenFor(t, async (request, response) => {
    asked.push(await text(request))
    response.end(bodies.length > 1 ? bodies.shift() : bodies[0])
  })
  return {
    origin,
    key,
    asked,
    answer(...next) {
      bodies = next
    },
    signed(change) {
      const fields: Fields = {
        return_code: 'SUCCESS',
        return_msg: 'OK',
        appid: APPID,
        mch_id: MCHID,
        nonce_str: 'IITRi8Iabbblz1Jc',
        result_code: 'SUCCESS',
        prepay_id: 'wx01080000000000a1b2c3d4e5f6a7b80000',
        trade_type: 'JSAPI',
        ...change
      }
      return xml({ ...fields, sign: sign(fields, key, 'HMAC-SHA256') })
    }
  }
}
