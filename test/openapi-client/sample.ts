/** A merchant's backend: what it asks of the gateway and what it is posted, by types made from docs/openapi.json. */
import createClient, { type Client } from 'openapi-fetch'
import type { components, paths } from 'wxgate-api'

export type Event = components['schemas']['Event']
type Problem = components['schemas']['Problem']
type Gateway = Client<paths>

export const connect = (baseUrl: string, apiKey: string): Gateway =>
  createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${apiKey}` } })

const refusal = ({ code, message, requestId }: Problem) => new Error(`${code}: ${message} (${requestId})`)

/** The ids of events that nobody tries to deliver any more. */
export async function listFailed(gateway: Gateway): Promise<string[]> {
  const { data, error } = await gateway.GET('/internal/events', { params: { query: { state: 'failed' } } })
  if (error !== undefined) throw refusal(error)
  return data.items.map(({ id }) => id)
}

/** What wx.requestPayment needs for an order of 42 yuan. */
export async function orderTea(gateway: Gateway, openid: string, outTradeNo: string) {
  const body = { openid, outTradeNo, description: 'Oolong tea, 250 g', amount: 4200 }
  const { data, error } = await gateway.POST('/internal/pay/orders', { body })
  if (error !== undefined) throw refusal(error)
  return data.payParams
}

/** Fen of an order that was paid: of an event as it is posted, or as it is asked for. */
export const paidFen = (event: Event): number | undefined =>
  event.type === 'payment.succeeded' ? event.data.amount.total : undefined

export async function paidFenOf(gateway: Gateway, id: string): Promise<number | undefined> {
  const { data, error } = await gateway.GET('/internal/events/{id}', { params: { path: { id } } })
  if (error !== undefined) throw refusal(error)
  return paidFen(data)
}

// @ts-expect-error: no event is in such a state
export const misspelt = (gateway: Gateway) => gateway.GET('/internal/events', { params: { query: { state: 'lost' } } })
