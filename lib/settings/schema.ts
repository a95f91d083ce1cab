/** Every setting of the environment, in one schema: what start-up checks, `.env.example` shows and the docs list. */

import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { type Notes, notesOf } from './notes.ts'
import { AppEntry, MerchantEntry } from './wechat-schema.ts'

/** The longest delay of Node's timers in ms (more fires at once); also plenty for seconds and for requests. */
const LARGEST = 2_147_483_647

function text(notes: Notes) {
  return Type.String({ ...notes })
}

function textOr(fallback: string, notes: Notes) {
  return Type.String({ default: fallback, ...notes })
}

function optional(notes: Notes) {
  return Type.Optional(text(notes))
}

function whole(fallback: number, minimum: number, notes: Omit<Notes, 'rule'>, maximum = LARGEST) {
  const rule = `must be a whole number from ${minimum} to ${maximum}`
  return Type.Integer({ default: fallback, minimum, maximum, rule, ...notes })
}

function choice<const T extends string>(values: readonly T[], fallback: NoInfer<T>, description: string) {
  const rule = `must be one of ${values.join(', ')}`
  const pattern = `^(?:${values.join('|')})$`
  return Type.Unsafe<T>(Type.String({ pattern, enum: values, default: fallback, description, rule }))
}

/**
 * A field of an app or merchant as a variable: the entry's schema judges it, so no pattern here, or it would be told
 * twice.
 */
function entryField(field: TSchema, more: Partial<Notes> = {}) {
  return optional({ ...notesOf(field), ...more })
}

const listener = {
  HOST: Type.String({
    default: '127.0.0.1',
    pattern: '^[A-Za-z0-9.:_-]+$',
    description: 'Address to listen on.',
    rule: 'must be an IP address or a host name'
  }),
  PORT: whole(3000, 0, { description: 'Port to listen on; 0 takes any free one.' }, 65535),
  LOG_LEVEL: choice(
    ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
    'info',
    'What is logged, from here up.'
  ),
  PUBLIC_URL: text({
    description: 'Where WeChat reaches us: issuer of the tokens and base of the notify URLs.',
    rule: 'must be https://host[:port] without path, query, hash or credentials (http:// only for loopback hosts)',
    kind: 'origin'
  }),
  TRUST_PROXY: textOr('loopback', {
    description: 'Whose X-Forwarded-For counts.',
    rule: 'must be an IP address, a CIDR range, loopback, linklocal or uniquelocal',
    kind: 'list'
  }),
  RATE_LIMIT: whole(600, 0, {
    description: 'Limit for one client on /api, over all instances; login and phone have a tenth of it; 0: no limit.',
    unit: 'requests per minute'
  }),
  DOCS: choice(['on', 'off'], 'off', 'Serve the OpenAPI pages at /docs, to holders of an API key.')
}

const redis = {
  REDIS_URL: text({
    description:
      'Where Redis is; user:password@ may stand before the first host. ' +
      'This version serves a single Redis, not Sentinel or Cluster.',
    rule:
      'must have the form redis://host[:port][/db], rediss://…, unix:/path, redis+sentinel://host:port[,…]/name or ' +
      'redis+cluster://host:port[,…], special characters of a password percent-encoded',
    kind: 'URL',
    secret: true
  }),
  REDIS_PREFIX: Type.String({
    default: 'wxgate',
    pattern: '^[A-Za-z0-9._:-]{1,32}$',
    description: 'Stands before every key.',
    rule: 'must be 1 to 32 letters, digits or . _ : -'
  })
}

const keys = {
  ENCRYPTION_KEYS: text({
    description:
      'Keys that seal what is secret in Redis and sign refresh tokens, each id:base64(32 bytes); ' +
      'the first is used, all are understood.',
    rule: 'must be id:base64, the id 1 to 16 letters, digits, _ or -, the base64 of exactly 32 bytes',
    kind: 'list',
    secret: true,
    make: 'echo "k1:$(openssl rand -base64 32)"'
  }),
  JWT_KEYS: optional({
    description:
      'Private keys that sign the tokens, P-256 (ES256) or Ed25519 (EdDSA), one after the other; ' +
      'the first signs, all verify. Line breaks may be written as \\n.',
    rule: 'must be one or more unencrypted PEM private keys, P-256 or Ed25519, and nothing else',
    kind: 'PEM',
    secret: true,
    alternative: 'JWT_SECRET',
    make: 'openssl genpkey -algorithm ed25519'
  }),
  JWT_SECRET: optional({
    description: 'Instead of JWT_KEYS: one secret for HS256.',
    rule: 'must be at least 32 bytes, and no PEM (that belongs into JWT_KEYS)',
    secret: true,
    free: true,
    alternative: 'JWT_KEYS',
    make: 'openssl rand -base64 48'
  })
}

const times = {
  TOKEN_TTL: whole(900, 1, { description: 'Life of an access token of ours.', unit: 'seconds' }),
  REFRESH_TTL: whole(2_592_000, 1, {
    description: 'How long a session lives without a refresh; each refresh starts it anew.',
    unit: 'seconds'
  }),
  SESSION_MAX_AGE: whole(15_552_000, 0, {
    description: 'A session ends at the latest so long after its login, however often it is refreshed; 0: no such end.',
    unit: 'seconds'
  }),
  SESSION_KEY_TTL: whole(7200, 1, { description: 'How long a session_key is held.', unit: 'seconds' }),
  WATERMARK_MAX_AGE: whole(0, 0, {
    description: 'How old decrypted user data may be; 0: age unchecked.',
    unit: 'seconds'
  })
}

const { appid, secret, pushToken, pushAesKey, pushReply } = AppEntry.properties

const app = {
  WECHAT_APPID: entryField(appid, { alternative: 'WECHAT_CONFIG_FILE' }),
  WECHAT_SECRET: entryField(secret, { alternative: 'WECHAT_CONFIG_FILE' }),
  WECHAT_PUSH_TOKEN: entryField(pushToken, { make: 'openssl rand -hex 16' }),
  WECHAT_PUSH_AES_KEY: entryField(pushAesKey, { make: 'openssl rand -base64 48 | tr -dc A-Za-z0-9 | cut -c1-43' }),
  WECHAT_PUSH_REPLY: entryField(pushReply)
}

const pay = MerchantEntry.properties

const merchant = {
  WECHAT_PAY_MCHID: entryField(pay.mchid),
  WECHAT_PAY_API_V2_KEY: entryField(pay.apiV2Key, { make: 'openssl rand -hex 16' }),
  WECHAT_PAY_API_V3_KEY: entryField(pay.apiV3Key, { make: 'openssl rand -hex 16' }),
  WECHAT_PAY_CERT_SERIAL: entryField(pay.certSerial),
  WECHAT_PAY_PRIVATE_KEY: entryField(pay.privateKey),
  WECHAT_PAY_CERT: entryField(pay.cert),
  WECHAT_PAY_PUBLIC_KEY_ID: entryField(pay.publicKeyId),
  WECHAT_PAY_PUBLIC_KEY: entryField(pay.publicKey)
}

const wechat = {
  WECHAT_CONFIG_FILE: optional({
    description: 'A JSON file with several apps and merchants, instead of the variables of the app and the merchant.',
    rule: 'must be the path of a JSON file',
    kind: 'path'
  }),
  WECHAT_API_ORIGIN: textOr('https://api.weixin.qq.com', {
    description: 'Where the WeChat API is; the next is tried when one cannot be reached.',
    rule: 'must be https://host[:port] without path (http:// only for loopback hosts)',
    kind: 'list'
  }),
  WECHAT_PAY_ORIGIN: textOr('https://api.mch.weixin.qq.com,https://api2.mch.weixin.qq.com', {
    description: 'Where WeChat Pay is; the next is tried when one cannot be reached.',
    rule: 'must be https://host[:port] without path (http:// only for loopback hosts)',
    kind: 'list'
  }),
  WECHAT_TIMEOUT_MS: whole(5000, 1, {
    description: 'Longest wait for one answer of WeChat; of a transfer, the longest time in which nothing moves.',
    unit: 'milliseconds'
  })
}

const proxy = {
  HTTPS_PROXY: optional({
    description:
      'Proxy for calls to WeChat and to receivers at https:// addresses, such as one with a fixed address for the ' +
      'IP list of WeChat. Never for loopback and link-local addresses and for names without a dot. ' +
      'In lower case too, which wins.',
    rule: 'must be http://[user:password@]host[:port] or the same with https://, special characters percent-encoded',
    kind: 'URL',
    secret: true
  }),
  HTTP_PROXY: optional({
    description: 'The same for http:// addresses.',
    rule: 'must be http://[user:password@]host[:port] or the same with https://, special characters percent-encoded',
    kind: 'URL',
    secret: true
  }),
  NO_PROXY: optional({
    description: 'What is called without the proxy.',
    rule:
      'must be a host (its subdomains are meant too), .suffix, *.suffix, an address, a CIDR range or *, ' +
      'each with :port or without',
    kind: 'list'
  })
}

const backend = {
  INTERNAL_API_KEYS: optional({
    description:
      "Keys of the merchant's backend for /internal, /metrics and /docs; none: these answer 404. " +
      'The name stands in the log line of each call. Scopes: read, login, events, pay, wechat; none named: all.',
    rule:
      'must be key, name:key or name/scope+scope:key, the key at least 32 visible ASCII characters without comma and ' +
      'colon, the name 1 to 32 letters, digits or . _ -',
    kind: 'list',
    secret: true,
    free: true,
    make: 'openssl rand -hex 32'
  }),
  WEBHOOK_URL: optional({
    description: 'Where events are posted; none: they wait in Redis.',
    rule: 'must be an http:// or https:// URL without credentials',
    kind: 'URL'
  }),
  WEBHOOK_SECRET: optional({
    description: 'Required with WEBHOOK_URL: signs the events (Standard Webhooks); several while one replaces another.',
    rule: 'must be whsec_ and the base64 of 24 to 64 bytes',
    kind: 'list',
    secret: true,
    make: 'echo "whsec_$(openssl rand -base64 32)"'
  }),
  DELIVERY_CONCURRENCY: whole(
    50,
    1,
    {
      description: 'How many events one instance delivers at once; a receiver that does not answer gets fewer.',
      unit: 'deliveries'
    },
    1000
  )
}

const work = {
  ROLES: textOr('api,worker', {
    description: 'What this instance does: api answers calls, worker delivers events and asks for silent orders.',
    rule: 'must be api or worker',
    kind: 'list'
  }),
  RECONCILE: choice(['on', 'off'], 'on', 'Ask WeChat about orders that it never told us about.'),
  RECONCILE_FIRST_MS: whole(30_000, 1, {
    description: 'Wait before an order is first asked for.',
    unit: 'milliseconds'
  }),
  EVENT_DURABILITY: choice(
    ['redis', 'fsync'],
    'redis',
    'When a callback is answered with success: once Redis has its event, or (fsync) once Redis has it on disk: ' +
      'it needs appendonly yes and appendfsync always, or Redis 7.2.'
  )
}

/** The order and the headings of the generated pages. */
export const SECTIONS: ReadonlyArray<{ title: string; settings: Record<string, TSchema> }> = [
  { title: 'Listener', settings: listener },
  { title: 'Redis', settings: redis },
  { title: 'Keys of our own', settings: keys },
  { title: 'Times', settings: times },
  { title: 'One app', settings: app },
  { title: 'One merchant of WeChat Pay', settings: merchant },
  { title: 'WeChat', settings: wechat },
  { title: 'Proxy', settings: proxy },
  { title: "The merchant's backend", settings: backend },
  { title: 'Work and safety', settings: work }
]

export const Environment = Type.Object(
  { ...listener, ...redis, ...keys, ...times, ...app, ...merchant, ...wechat, ...proxy, ...backend, ...work },
  { additionalProperties: false }
)
export type Environment = Static<typeof Environment>
export type SettingName = keyof Environment
