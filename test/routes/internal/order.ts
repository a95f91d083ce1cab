/** What the tests of `POST /internal/pay/orders` share. */
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { API_KEY } from '../../helper.ts'

export const ORDER = {
  openid: 'oUpF8uMuAJO_M2pxb1Q9zNjWeS6o',
  outTradeNo: 'T20250101_0001',
  description: '腾讯充值中心-QQ会员充值',
  amount: 88
}

export function order(
  app: FastifyInstance,
  change: object = {},
  headers: Record<string, string> = { authorization: `Bearer ${API_KEY}` }
) {
  return app.inject({ method: 'POST', url: '/internal/pay/orders', headers, payload: { ...ORDER, ...change } })
}

export type Answer = Awaited<ReturnType<typeof order>>

export function refused(t: Test, answer: Answer, statusCode: number, code: string, more: object = {}): void {
  t.equal(answer.statusCode, statusCode, answer.body)
  t.match(answer.json(), { statusCode, code, ...more })
}
