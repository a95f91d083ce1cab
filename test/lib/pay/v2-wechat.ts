/** WeChat Pay's APIv2 saying whatever a test wants, over real HTTP: what the sandbox, which is honest, never would. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'
import { Upstream } from '../../../lib/http/upstream.ts'
import type { PayApi } from '../../../lib/pay/model.ts'
import { PayApiV2 } from '../../../lib/pay/v2/api.ts'
import type { Merchant } from '../../../lib/settings/model.ts'
import { listenFor } from '../../listen.ts'
import { type Fields, sign, xml } from '../../routes/wechat/notices.ts'

export const KEY = 'throwAwayApiV2Key000000000000001'
export const MERCHANT: Merchant = {
  mchid: '1900000109',
  apiV2Key: KEY,
  appids: ['wx2421b1c4370ec43b', 'wxfedcba9876543210']
}

export interface Asked {
  path: string
  fields: Fields
}

/** A body, or what to do with the request instead; `secure` tells whether it came by the connections for refunds. */
export type Answering = string | Buffer | ((response: ServerResponse) => void)

export interface FakeWechat {
  v2: PayApi
  /** Oldest first. */
  asked: Asked[]
  /** How each call was counted: api and outcome. */
  counted: [api: string, outcome: string][]
  /** The next answers, in turn. */
  answer(...answers: Answering[]): void
  /** Merchants whose certificate was asked for. */
  identified: string[]
}

/** A success, signed as WeChat signs; fields that are undefined are left out. */
export const signed = (change: Fields = {}, key = KEY): string => {
  const fields: Fields = {
    return_code: 'SUCCESS',
    return_msg: 'OK',
    appid: 'wx2421b1c4370ec43b',
    mch_id: '1900000109',
    nonce_str: 'IITRi8Iabbblz1Jc',
    result_code: 'SUCCESS',
    ...change
  }
  return xml({ ...fields, sign: sign(fields, key, 'HMAC-SHA256') })
}

export const refusal = (err_code: string): string => signed({ result_code: 'FAIL', err_code, err_code_des: '原因' })

export const failure = (return_msg: string): string => xml({ return_code: 'FAIL', return_msg })

/** Nothing is ever answered. */
export const silence = (): void => undefined

const fieldsOf = (body: string): Fields =>
  Object.fromEntries(
    [...body.matchAll(/<(\w+)><!\[CDATA\[(.*?)\]\]><\/\1>/gs)].map(([, name = '', value = '']) => [name, value])
  )

export async function fakeWechat(t: Test, timeoutMs = 5000): Promise<FakeWechat> {
  const asked: Asked[] = []
  const counted: [string, string][] = []
  const identified: string[] = []
  let answers: Answering[] = []
  const { origin } = await listenFor(t, async (request: IncomingMessage, response: ServerResponse) => {
    asked.push({ path: request.url ?? '', fields: fieldsOf(String(await buffer(request))) })
    const next = answers.shift() ?? failure('nothing was to be asked')
    if (typeof next === 'function') next(response)
    else response.end(next)
  })
  const upstream = new Upstream({ origins: [origin], timeoutMs })
  t.teardown(() => upstream.close())
  const v2 = new PayApiV2({
    upstream,
    secureUpstreamFor({ mchid }) {
      identified.push(mchid)
      return upstream
    },
    meters: { upstreamCall: (api, outcome) => counted.push([api, outcome]) },
    publicUrl: 'https://wx.example.test',
    now: () => 1735689600_000
  })
  return {
    v2,
    asked,
    counted,
    identified,
    answer(...next) {
      answers = next
      asked.length = 0
      counted.length = 0
    }
  }
}
