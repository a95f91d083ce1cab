/** Users who have logged in before the measuring begins. */
import { request } from './http.ts'
import type { Side } from './measure.ts'
import type { World } from './world.ts'

export interface User {
  token: string
  /** What their page got from the phone button. */
  phone: { encryptedData: string; iv: string }
}

export async function logInUsers({ wechat }: World, { load }: Pick<Side, 'load'>, count: number): Promise<User[]> {
  const openids = Array.from({ length: count }, (_, index) => `oBenchUser${String(index).padStart(18, '0')}`)
  const codes = await wechat.codes(openids)
  const tokens = new Map<string, string>()
  await load.send(
    codes.map((code) => request('POST', '/api/login', { json: { code } })),
    ({ status, body }) => {
      if (status !== 200) throw new Error(`a login was answered with ${status}: ${body}`)
      const { openid, token } = JSON.parse(body.toString()) as { openid: string; token: string }
      tokens.set(openid, token)
    }
  )
  const phones = await wechat.phones(openids)
  return phones.map((phone, index) => ({ token: tokens.get(openids[index] ?? '') ?? '', phone }))
}
