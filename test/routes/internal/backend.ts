/** What the tests of /internal/apps share: the merchant's backend calling about an app or a user. */
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { API_KEY, APPID } from '../../helper.ts'

export const KEY = { authorization: `Bearer ${API_KEY}` }

export const ask = (app: FastifyInstance, options: InjectOptions): Promise<LightMyRequestResponse> =>
  app.inject({ headers: KEY, ...options })

export const sessionsUrl = (openid: string, appid = APPID): string => `/internal/apps/${appid}/users/${openid}/sessions`

export const sessionKeyUrl = (openid: string, call: 'check' | 'reset' | 'sign', appid = APPID): string =>
  `/internal/apps/${appid}/users/${openid}/session-key/${call}`

export const accessTokenUrl = (appid = APPID): string => `/internal/apps/${appid}/access-token`
