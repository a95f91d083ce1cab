/** Accidents with settings are named: names that are nearly right, and values that were damaged. */
import { createHash, createPublicKey, generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { SettingsError } from '../../../lib/settings/issues.ts'
import { findMisspelt, LATER_NAMES } from '../../../lib/settings/misspelt.ts'
import { Environment } from '../../../lib/settings/schema.ts'
import { readSettings } from '../../../lib/settings.ts'

type Env = Record<string, string | undefined>

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const key = rsa.export({ type: 'pkcs8', format: 'pem' }).toString()
const encrypted = rsa.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' }).toString()
const publicKey = createPublicKey(rsa).export({ type: 'spki', format: 'pem' }).toString()
const certificate = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'

const base: Env = {
  PUBLIC_URL: 'https://pay.example.com',
  REDIS_URL: 'redis://127.0.0.1:6379',
  ENCRYPTION_KEYS: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
  JWT_SECRET: 'a'.repeat(32),
  WECHAT_APPID: 'wxd678efh567hg6787',
  WECHAT_SECRET: 'app-secret'
}
const v3: Env = {
  WECHAT_PAY_MCHID: '1900000001',
  WECHAT_PAY_API_V3_KEY: '3'.repeat(32),
  WECHAT_PAY_CERT_SERIAL: '0A5B00000000000000000000000000000000C0DE',
  WECHAT_PAY_PRIVATE_KEY: key
}

/** The faults, one line each. */
function faults(changes: Env, files: Record<string, string> = {}): string[] {
  const readFile = (path: string): string => {
    const content = files[path]
    if (content === undefined)
      throw Object.assign(new Error('no'), { code: path === '/a/folder' ? 'EISDIR' : 'ENOENT' })
    return content
  }
  try {
    readSettings({ ...base, ...changes }, { readFile })
    return []
  } catch (error) {
    if (error instanceof SettingsError) return error.message.split('\n')
    throw error
  }
}

const LONG_PATH = '/run/secrets/wxgate/production/jwt_secret'

/** What was given, and the one line that names it. */
const DAMAGED: [kind: string, changes: Env, line: RegExp][] = [
  ['double quotes', { REDIS_URL: '"redis://127.0.0.1:6379"' }, /^REDIS_URL stands in quotes/],
  ['single quotes', { WECHAT_SECRET: "'app-secret'" }, /^WECHAT_SECRET stands in quotes/],
  ['quotes where anything is allowed', { JWT_SECRET: `"${'a'.repeat(32)}"` }, /^JWT_SECRET stands in quotes/],
  ['Chinese quotes', { WECHAT_APPID: '“wxd678efh567hg6787”' }, /^WECHAT_APPID stands in quotes/],
  ['quotes around a number', { PORT: '"3000"' }, /^PORT stands in quotes/],
  ['quotes around a PEM', { ...v3, WECHAT_PAY_PRIVATE_KEY: `"${key}"` }, /^WECHAT_PAY_PRIVATE_KEY stands in quotes/],
  ['one quote', { WECHAT_APPID: '"wxd678efh567hg6787' }, /^WECHAT_APPID must be .*; it begins or ends with a quote$/],
  ['a carriage return', { WECHAT_SECRET: 'app-secret\r' }, /^WECHAT_SECRET holds a carriage return/],
  ['one at a number', { PORT: '3000\r' }, /^PORT holds a carriage return/],
  ['one at a choice', { RECONCILE: 'off\r' }, /^RECONCILE holds a carriage return/],
  ['one where anything is allowed', { JWT_SECRET: `${'a'.repeat(32)}\r` }, /^JWT_SECRET holds a carriage return/],
  ['a byte order mark', { PUBLIC_URL: '\ufeffhttps://pay.example.com' }, /^PUBLIC_URL begins with a byte order mark/],
  ['one where anything is allowed', { WECHAT_SECRET: '\ufeffx' }, /^WECHAT_SECRET begins with a byte order mark/],
  ['a placeholder', { WECHAT_SECRET: '<your-app-secret>' }, /^WECHAT_SECRET is still the placeholder/],
  ['a variable that nobody filled in', { WECHAT_SECRET: `\${SECRET}` }, /^WECHAT_SECRET is still the placeholder/],
  ['a placeholder inside', { PUBLIC_URL: 'https://<your-host>/' }, /^PUBLIC_URL must .*; it holds the placeholder/],
  [
    'a blank at the end',
    { PUBLIC_URL: 'https://pay.example.com ' },
    /^PUBLIC_URL must .*; it begins or ends with a blank$/
  ],
  ['a blank before', { LOG_LEVEL: ' info' }, /^LOG_LEVEL must .*; it begins or ends with a blank$/],
  ['a no-break space', { PORT: '3000\u00a0' }, /^PORT must .*; it holds a character that is not seen/],
  ['a zero-width space', { WECHAT_APPID: 'wxd678efh567hg6787\u200b' }, /^WECHAT_APPID must .*; it holds a character/],
  ['full-width digits', { PORT: '３０００' }, /^PORT must .*; it holds full-width characters/],
  ['a full-width colon', { REDIS_URL: 'redis：//127.0.0.1' }, /^REDIS_URL must .*; it holds full-width characters/],
  ['true for on', { DOCS: 'true' }, /^DOCS must be one of on, off; write on$/],
  ['0 for off', { RECONCILE: '0' }, /^RECONCILE must be one of on, off; write off$/],
  ['capitals', { LOG_LEVEL: 'INFO' }, /^LOG_LEVEL must .*; it is written in small letters$/],
  ['a unit', { TOKEN_TTL: '15m' }, /^TOKEN_TTL must .*; write the number alone, without a unit$/],
  [
    'a path for a key',
    { ...v3, WECHAT_PAY_PRIVATE_KEY: '/etc/k.pem' },
    /; it is a path, so name it WECHAT_PAY_PRIVATE_KEY_FILE$/
  ],
  ['a path for a URL', { REDIS_URL: './redis_url' }, /^REDIS_URL must .*; it is a path, so name it REDIS_URL_FILE$/],
  [
    'a path of Windows',
    { ENCRYPTION_KEYS: 'C:\\keys\\k1' },
    /^ENCRYPTION_KEYS .*; it is a path, so name it ENCRYPTION_KEYS_FILE$/
  ],
  [
    'a path that would do as a secret',
    { JWT_SECRET: LONG_PATH },
    /^JWT_SECRET is the path of a file: name it JWT_SECRET_FILE$/
  ],
  [
    'the path of a file that is not there, for a secret',
    { JWT_SECRET: '/run/secrets/wxgate-production/jwt_secret' },
    /^JWT_SECRET is the path of a file: name it JWT_SECRET_FILE$/
  ],
  [
    'the same for API keys',
    { INTERNAL_API_KEYS: '/etc/wxgate/secrets/internal-api-keys.txt' },
    /^INTERNAL_API_KEYS is the path of a file: name it INTERNAL_API_KEYS_FILE$/
  ],
  ['the text for a path', { WECHAT_CONFIG_FILE: '{"apps": []}' }, /; it is the text of a file; its path is wanted$/],
  [
    'a certificate for a key',
    { ...v3, WECHAT_PAY_PRIVATE_KEY: certificate },
    /^WECHAT_PAY_PRIVATE_KEY must .*; it is a certificate$/
  ],
  ['a public key for a key', { ...v3, WECHAT_PAY_PRIVATE_KEY: publicKey }, /; it is a public key$/],
  ['a key for a certificate', { ...v3, WECHAT_PAY_CERT: key }, /^WECHAT_PAY_CERT must .*; it is a private key$/],
  ['an encrypted key', { ...v3, WECHAT_PAY_PRIVATE_KEY: encrypted }, /; it is encrypted; take the password off/],
  [
    'a PEM without line breaks',
    { ...v3, WECHAT_PAY_PRIVATE_KEY: key.replaceAll('\n', ' ') },
    /; its line breaks are gone/
  ],
  ['the first line of a PEM', { ...v3, WECHAT_PAY_PRIVATE_KEY: key.split('\n', 1)[0] }, /; it has no line -----END/],
  ['a PEM without its first line', { ...v3, WECHAT_PAY_PRIVATE_KEY: key.slice(28) }, /; it has no line -----BEGIN/],
  ['a folder', { JWT_SECRET: undefined, JWT_SECRET_FILE: '/a/folder' }, /^JWT_SECRET_FILE names .*: it is a folder$/],
  [
    'a file in quotes',
    { WECHAT_SECRET: undefined, WECHAT_SECRET_FILE: '/quoted' },
    /^WECHAT_SECRET_FILE names a file whose content stands in quotes/
  ],
  [
    'a file with a byte order mark',
    { WECHAT_SECRET: undefined, WECHAT_SECRET_FILE: '/marked' },
    /^WECHAT_SECRET_FILE names a file whose content begins with a byte order mark/
  ]
]

const FILES = {
  [LONG_PATH]: 'x',
  '/quoted': '"app-secret"\r\n',
  '/marked': '\ufeffapp-secret\n'
}

for (const [kind, changes, line] of DAMAGED) {
  t.test(`readSettings() names it: ${kind}`, async (t) => {
    const told = faults(
      { ...changes, ...('WECHAT_CONFIG_FILE' in changes && { WECHAT_APPID: '', WECHAT_SECRET: '' }) },
      FILES
    )
    t.match(told[0], line)
    t.equal(told.length, 1)
    const values = Object.values(changes).filter((value) => value !== undefined && value.length > 8)
    for (const value of values) t.notOk(told.join().includes(value ?? ''), 'no value is shown')
  })
}

t.test('readSettings() names the same in the file of WECHAT_CONFIG_FILE', async (t) => {
  const app = { appid: base.WECHAT_APPID, secret: 'app-secret' }
  const merchant = { mchid: '1900000001', apiV2Key: '2'.repeat(32) }
  const rows: [string, RegExp][] = [
    [
      `\ufeff${JSON.stringify({ apps: [app] })}`,
      /^WECHAT_CONFIG_FILE names a file whose content begins with a byte order mark/
    ],
    [JSON.stringify({ apps: [app] }).replaceAll('"', '”'), /not valid JSON: it holds typographic quotes$/],
    [
      JSON.stringify({ apps: [{ ...app, secret: "'app-secret'" }] }),
      /^WECHAT_CONFIG_FILE apps\[0\]\.secret stands in quotes/
    ],
    [
      JSON.stringify({ apps: [app], merchants: [{ ...merchant, privateKey: '/etc/key.pem' }] }),
      /privateKey must .*; it is a path$/
    ],
    [
      JSON.stringify({ apps: [app], merchants: [{ ...merchant, apiV2Key: `${'2'.repeat(32)}\r` }] }),
      /apiV2Key holds a carriage return/
    ]
  ]
  for (const [content, line] of rows) {
    const told = faults({ WECHAT_APPID: '', WECHAT_SECRET: '', WECHAT_CONFIG_FILE: '/c' }, { '/c': content })
    t.match(told[0], line)
  }
})

/** Long enough for a secret of ours, and known to whoever knows the documents. */
const GUESSABLE: [text: string, line: RegExp][] = [
  ['/run/secrets/wxgate/internal_api_key_shop', /is the path of a file/],
  ['/home/deploy/Wxgate/secrets/jwt_secret.txt', /is the path of a file/],
  ['/home/deploy/my own folder/wxgate/jwt secret', /is the path of a file/],
  ['~/wxgate/secrets/production/the-secret-of-tokens', /is the path of a file/],
  ['../secrets/production/the-secret-of-all-tokens', /is the path of a file/],
  ['secrets/production/wxgate/the-secret-of-tokens.txt', /is the path of a file/],
  ['secrets/production/wxgate/thesecretofalltokens', /is the path of a file/],
  ['@/etc/wxgate/secrets/production/the-secret-of-tokens', /is the path of a file/],
  ['file:///run/secrets/wxgate/production/jwt_secret', /is a reference/],
  ['vault://secret/data/wxgate/production#JwtSecretKey', /is a reference/],
  ['https://Secrets.example.com/wxgate/jwt?version=2', /is a reference/],
  [`\${CREDENTIALS_DIRECTORY}/wxgate/jwt_secret_of_tokens`, /is a reference/],
  ['$CREDENTIALS_DIRECTORY/wxgate/jwt_secret_of_tokens', /is a reference/],
  ['$THE_JWT_SECRET_OF_WXGATE_IN_PRODUCTION', /is a reference/],
  ['$(cat /run/secrets/wxgate/production/jwt_secret)', /is a reference/],
  ['%d/wxgate/secrets/production/the-secret-of-tokens', /is a reference/],
  ['%THE_JWT_SECRET_OF_WXGATE_IN_PRODUCTION%', /is a reference/]
]

for (const [text, line] of GUESSABLE) {
  t.test(`readSettings() takes no secret that others can guess: ${text}`, async (t) => {
    const at = (changes: Env, prefix: RegExp, files: Record<string, string> = {}) => {
      const told = faults(changes, files)
      t.equal(told.length, 1)
      t.match(told[0], prefix)
      t.match(told[0], line)
      t.notOk(told.join().includes(text), 'no value is shown')
    }
    at({ JWT_SECRET: text }, /^JWT_SECRET /)
    at({ JWT_SECRET: undefined, JWT_SECRET_FILE: '/s' }, /^JWT_SECRET_FILE names /, { '/s': `${text}\n` })
    at({ WECHAT_SECRET: text }, /^WECHAT_SECRET /)
    const config = JSON.stringify({ apps: [{ appid: base.WECHAT_APPID, secret: text }] })
    const inFile = { WECHAT_APPID: '', WECHAT_SECRET: '', WECHAT_CONFIG_FILE: '/c' }
    at(inFile, /^WECHAT_CONFIG_FILE apps\[0\]\.secret /, { '/c': config })
    // No API key has blanks or colons.
    if (/[ :]/.test(text)) return
    for (const entry of [text, `shop:${text}`, `shop/read+pay:${text}`])
      at({ INTERNAL_API_KEYS: `${'k'.repeat(32)},${entry}` }, /^INTERNAL_API_KEYS entry 2 /)
    at({ INTERNAL_API_KEYS: text }, /^INTERNAL_API_KEYS /)
  })
}

t.test('readSettings() names quotes around one of several keys', async (t) => {
  const quoted = `"${'k'.repeat(32)}"`
  for (const entry of [quoted, `shop:${quoted}`])
    t.match(faults({ INTERNAL_API_KEYS: `${'i'.repeat(32)},${entry}` }), [
      /^INTERNAL_API_KEYS entry 2 stands in quotes/
    ])
})

t.test('readSettings() names what an AppSecret never has', async (t) => {
  for (const secret of ['"0123456789abcdef', '0123456789abcdef\u200b', '\\"0123456789abcdef\\"', '0123456789abcdef＂'])
    t.match(faults({ WECHAT_SECRET: secret }), [/^WECHAT_SECRET must be visible ASCII/], secret)
  t.match(faults({ WECHAT_SECRET: '/run/secrets/wx' }), [
    /^WECHAT_SECRET is the path of a file: name it WECHAT_SECRET_FILE$/
  ])
})

t.test('readSettings() takes random text of every usual make as a secret', async (t) => {
  const visible = (bytes: Buffer) => [...bytes].map((byte) => String.fromCharCode(33 + (byte % 94))).join('')
  const makes: ((bytes: Buffer) => string)[] = [
    (bytes) => bytes.toString('hex'),
    (bytes) => bytes.toString('base64'),
    (bytes) => bytes.subarray(0, 33).toString('base64'),
    (bytes) => bytes.toString('base64url'),
    visible,
    (bytes) => `wxgate/${bytes.toString('hex')}`,
    (bytes) => `wxgate-prod/${bytes.toString('base64url')}`
  ]
  for (let n = 0; n < 200; n++)
    for (const make of makes) {
      const secret = make(createHash('sha256').update(String(n)).digest())
      t.same(faults({ JWT_SECRET: secret }), [], secret)
    }
})

t.test('readSettings() takes what only looks odd', async (t) => {
  for (const changes of [
    { JWT_SECRET: `/${'aB3/'.repeat(12)}` },
    { JWT_SECRET: `${'a'.repeat(31)}"` },
    { ...v3, WECHAT_PAY_PRIVATE_KEY: key.replaceAll('\n', '\r\n') },
    { ...v3, WECHAT_PAY_PRIVATE_KEY: key.replaceAll('\n', '\\n') }
  ])
    t.same(faults(changes), [])
})

const MEANT: Record<string, string> = {
  WEBHOOK_URL_FILE: 'WEBHOOK_URL',
  WECHAT_APPID_FILE: 'WECHAT_APPID',
  WXGATE_PUBLIC_URL_FILE: 'PUBLIC_URL',
  NO_PROXY_FILE: 'NO_PROXY',
  WECHAT_CONFIG: 'WECHAT_CONFIG_FILE',
  TRUST_PROXIES: 'TRUST_PROXY',
  TRUSTED_PROXY: 'TRUST_PROXY',
  INTERNAL_API_KEY: 'INTERNAL_API_KEYS',
  WEBHOOKURL: 'WEBHOOK_URL',
  WEBHOOK_URI: 'WEBHOOK_URL',
  WECHAT_APP_ID: 'WECHAT_APPID',
  WECAHT_APPID: 'WECHAT_APPID',
  WECHAT_APP_SECRET: 'WECHAT_SECRET',
  WX_APPID: 'WECHAT_APPID',
  REDIS_URI: 'REDIS_URL',
  REDISURL: 'REDIS_URL',
  REDIS_DSN: 'REDIS_URL',
  redis_url: 'REDIS_URL',
  'redis-url': 'REDIS_URL',
  JWT_SECRETS: 'JWT_SECRET',
  JWT_KEY: 'JWT_KEYS',
  JWT_SECRET_FIEL: 'JWT_SECRET_FILE',
  ENCRYPTION_KEY_FILE: 'ENCRYPTION_KEYS_FILE',
  WXGATE_PORT: 'PORT',
  WXGATE_REDIS_URL: 'REDIS_URL',
  WECHAT_PAY_APIV3_KEY: 'WECHAT_PAY_API_V3_KEY',
  WECHAT_PAY_MCH_ID: 'WECHAT_PAY_MCHID',
  WECHATPAY_PRIVATE_KEY: 'WECHAT_PAY_PRIVATE_KEY',
  WECHAT_PAY_SERIAL_NO: 'WECHAT_PAY_CERT_SERIAL',
  WECHAT_ENCODING_AES_KEY: 'WECHAT_PUSH_AES_KEY',
  EVENT_DURABILTY: 'EVENT_DURABILITY',
  PUBLIC_URI: 'PUBLIC_URL'
}

for (const [name, meant] of Object.entries(MEANT)) {
  t.test(`findMisspelt() finds that ${name} means ${meant}`, async (t) => {
    t.same(findMisspelt({ ...base, [name]: 'x' }), [{ name, meant }])
    t.same(findMisspelt({ ...base, [name]: '' }), [], 'empty counts as unset')
  })
}

t.test('findMisspelt() leaves the names of others alone', async (t) => {
  const others = `
    PATH HOME HOSTNAME PWD OLDPWD SHLVL TERM LANG LC_ALL TZ USER LOGNAME SHELL EDITOR PAGER MAIL host port
    role docs NODE_VERSION YARN_VERSION NODE_ENV NODE_OPTIONS NODE_EXTRA_CA_CERTS NODE_COMPILE_CACHE
    NODE_NO_WARNINGS UV_THREADPOOL_SIZE KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT KUBERNETES_PORT
    KUBERNETES_PORT_443_TCP_ADDR REDIS_SERVICE_HOST REDIS_SERVICE_PORT REDIS_PORT REDIS_HOST REDIS_PASSWORD
    REDIS_PORT_6379_TCP_PROTO WXGATE_SERVICE_HOST WXGATE_SERVICE_PORT WXGATE_PORT_3000_TCP_ADDR
    WXGATE_SOMETHING WXGATE_WARMING PORT_FILE npm_config_cache npm_package_name npm_lifecycle_event
    npm_config_loglevel INVOCATION_ID JOURNAL_STREAM NOTIFY_SOCKET LISTEN_FDS SYSTEMD_EXEC_PID
    CREDENTIALS_DIRECTORY MAINPID http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY CI
    GITHUB_ACTIONS DEBIAN_FRONTEND DATABASE_URL POSTGRES_URL MYSQL_HOST API_URL API_KEY SECRET_KEY PUBLIC_KEY
    TOKEN_URL SSH_CLIENT SSH_AUTH_SOCK LS_COLORS XDG_RUNTIME_DIR OTEL_SERVICE_NAME OTEL_EXPORTER_OTLP_ENDPOINT
    CONSOLE LOG_FILE REDIS_TLS_URL WECHAT_GATEWAY_HOST`
  const env = Object.fromEntries(
    others
      .trim()
      .split(/\s+/)
      .map((name) => [name, 'x'])
  )
  t.same(findMisspelt({ ...base, ...env }), [])
  t.same(findMisspelt({ ...base, WXGATE_PORT: 'tcp://10.0.0.1:3000', REDIS_URL_: 'tcp://10.0.0.2:6379' }), [])
  const ours = Object.fromEntries(Object.keys(Environment.properties).map((name) => [name, 'x']))
  t.same(findMisspelt(ours), [])
})

t.test('findMisspelt() names settings of later versions, and no other as later', async (t) => {
  const later = Object.fromEntries(LATER_NAMES.map((name) => [name, 'x']))
  t.same(
    findMisspelt({ ...base, ...later }),
    LATER_NAMES.map((name) => ({ name, meant: undefined }))
  )
  t.same(
    LATER_NAMES.filter((name) => name in Environment.properties),
    []
  )
})

t.test('readSettings() says of a setting that is missing under which name it may have been given', async (t) => {
  const rows: [Env, string][] = [
    [{ REDIS_URL: undefined, REDIS_URI: 'x' }, 'REDIS_URL is required; REDIS_URI is set: is that meant?'],
    [{ PUBLIC_URL: '', public_url: 'x' }, 'PUBLIC_URL is required; public_url is set: is that meant?'],
    [
      { JWT_SECRET: '', JWT_SECRETS: 'x' },
      'JWT_KEYS is required, or JWT_SECRET in its place; JWT_SECRETS is set: is that meant?'
    ],
    [
      { WECHAT_SECRET: '', WECHAT_APP_SECRET: 'x' },
      'WECHAT_SECRET is required, or WECHAT_CONFIG_FILE in its place; WECHAT_APP_SECRET is set: is that meant?'
    ],
    [{ REDIS_URL: '', REDIS_URL_FLIE: 'x' }, 'REDIS_URL is required; REDIS_URL_FLIE is set: is that meant?'],
    [
      { WEBHOOK_URL: 'http://a/', WEBHOOK_SECRETS: 'x' },
      'WEBHOOK_SECRET is required with WEBHOOK_URL; WEBHOOK_SECRETS is set: is that meant?'
    ]
  ]
  for (const [changes, line] of rows) t.same(faults(changes), [line])
})
