/** Writes docs/openapi.json, which is made from the routes' schemas: run it after changing a route. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import fastify from 'fastify'
import wxgate, { serverOptions } from '../app.ts'
import { readSettings } from '../lib/settings.ts'

/** Enough for all routes to be there. Nothing is listened to, and no Redis needed. */
const ENVIRONMENT = {
  LOG_LEVEL: 'silent',
  PUBLIC_URL: 'https://wx.example.com',
  REDIS_URL: 'unix:/nonexistent/redis.sock',
  ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
  JWT_SECRET: randomBytes(32).toString('hex'),
  WECHAT_APPID: 'wx0123456789abcdef',
  WECHAT_SECRET: randomBytes(16).toString('hex'),
  INTERNAL_API_KEYS: randomBytes(32).toString('hex'),
  ROLES: 'api',
  DOCS: 'on'
}

/** The text of docs/openapi.json: the same on every machine. */
export async function openapiFile(): Promise<string> {
  const settings = readSettings(ENVIRONMENT)
  const app = fastify(serverOptions(settings))
  await app.register(wxgate, { settings })
  await app.ready()
  const document = app.swagger()
  await app.close()
  return `${JSON.stringify(document, null, 2)}\n`
}

if (import.meta.main) writeFileSync(new URL('../docs/openapi.json', import.meta.url), await openapiFile())
