/** What WeChat Pay demands of the fields of a unified order. */
import { isIP } from 'node:net'
import { parseBeijingTime } from '../wire/time.ts'
import type { World } from '../world.ts'
import { BusinessRefused, type Message } from './pay-v2.ts'

const REQUIRED = [
  'appid',
  'mch_id',
  'nonce_str',
  'sign',
  'body',
  'out_trade_no',
  'total_fee',
  'spbill_create_ip',
  'notify_url',
  'trade_type',
  'openid'
]

/** Bytes: older pages count the texts in bytes, newer ones in characters; the stricter reading finds more. */
const MAX_BYTES: Record<string, number> = {
  appid: 32,
  device_info: 32,
  nonce_str: 32,
  body: 127,
  detail: 6000,
  attach: 127,
  spbill_create_ip: 64,
  goods_tag: 32,
  notify_url: 256,
  openid: 128,
  scene_info: 256
}

const PATTERNS: Record<string, RegExp> = {
  out_trade_no: /^[0-9A-Za-z_|*-]{6,32}$/,
  total_fee: /^[1-9]\d{0,8}$/,
  fee_type: /^CNY$/,
  trade_type: /^JSAPI$/,
  // https at WeChat; http too here, since a sandbox has no certificates. No query string in either.
  notify_url: /^https?:\/\/[^\s?#]+$/,
  time_start: /^\d{14}$/,
  time_expire: /^\d{14}$/
}

function parameterError(name: string): BusinessRefused {
  return new BusinessRefused('PARAM_ERROR', `参数错误:${name}`)
}

function checkText(name: string, value: string): void {
  const max = MAX_BYTES[name]
  if (max !== undefined && Buffer.byteLength(value) > max) throw parameterError(name)
  if (PATTERNS[name]?.test(value) === false) throw parameterError(name)
  // WeChat Pay stores UTF-8 of at most three bytes: no emoji.
  if (/[\u{10000}-\u{10ffff}]/u.test(value)) throw parameterError(name)
}

function checkIdentities({ apps, users }: World, { fields, merchant }: Message): void {
  const appid = fields.get('appid') ?? ''
  if (!apps.has(appid)) throw new BusinessRefused('APPID_NOT_EXIST', 'APPID不存在')
  if (!merchant.appids.includes(appid)) throw new BusinessRefused('APPID_MCHID_NOT_MATCH', 'appid和mch_id不匹配')
  // Users that never logged in here are taken on trust; one whom only another app knows is not.
  if (users.belongsElsewhere(appid, fields.get('openid') ?? ''))
    throw new BusinessRefused('PARAM_ERROR', 'appid和openid不匹配')
}

/** Throws BusinessRefused: LACK_PARAMS, PARAM_ERROR, or one of the identities' codes. */
export function checkFields(world: World, message: Message): void {
  const { fields } = message
  const missing = REQUIRED.find((name) => (fields.get(name) ?? '') === '')
  if (missing !== undefined) throw new BusinessRefused('LACK_PARAMS', `缺少参数:${missing}`)
  for (const [name, value] of fields) {
    if (value !== '') checkText(name, value)
  }
  if (isIP(fields.get('spbill_create_ip') ?? '') === 0) throw parameterError('spbill_create_ip')
  checkIdentities(world, message)
}

/**
 * time_expire in milliseconds. It counts only on the first order of a number, and must then be more than a minute
 * ahead.
 */
export function readExpiry(world: World, { fields }: Message): number | undefined {
  const text = fields.get('time_expire') ?? ''
  if (text === '') return undefined
  const expiresAt = parseBeijingTime(text)
  if (expiresAt === undefined || expiresAt <= world.now() + 60_000) throw parameterError('time_expire')
  return expiresAt
}
