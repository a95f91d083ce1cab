/** Compares the pages with the code, and runs the commands and code that they show. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { compileFunction } from 'node:vm'
import t, { type Test } from 'tap'
import { ERRORS } from '../lib/errors.ts'
import { readSettings } from '../lib/settings.ts'
import { makeMerchant } from '../sandbox/index.ts'
import { type DevWorld, startDevWorld } from '../tools/dev-world.ts'
import { freePort } from '../tools/free-port.ts'
import { onPath } from '../tools/shell.ts'
import { API_KEY, APPID, type BuildOptions, build, logIn, MCHID, type World } from './helper.ts'

const ROOT = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')

const readme = read('README.md')
const errorsPage = read('docs/errors.md')
const backendPage = read('docs/backend.md')
const eventsPage = read('docs/events.md')
const operationsPage = read('docs/operations.md')
const paymentsPage = read('docs/payments.md')
const pages = ['README.md', 'SECURITY.md', ...globSync('docs/**/*.md', { cwd: ROOT })]

/** The one code block of a language that holds `mark`. */
function block(page: string, language: string, mark: string): string {
  const found = [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))]
    .map(([, code = '']) => code)
    .filter((code) => code.includes(mark))
  if (found.length !== 1 || found[0] === undefined)
    throw new Error(`${found.length} blocks of ${language} hold ${mark}, not one`)
  return found[0]
}

/** The part of a page under one heading. */
function section(page: string, heading: string): string {
  const [, text = ''] = page.split(`\n${heading}\n`)
  return text.split(/\n#{1,2} /)[0] ?? ''
}

const sorted = (names: Iterable<string>) => [...new Set(names)].sort()

t.test('docs/errors.md has every code with its status, and no other', async (t) => {
  const rows = section(errorsPage, '## Codes').matchAll(/^\| `([A-Z_]+)` \| (\d{3}) \|(.*)\|$/gm)
  const told = [...rows].map(([, code = '', status, rest = '']) => ({
    code,
    status: Number(status),
    cells: rest.split('|').length
  }))
  const wanted = Object.entries(ERRORS).map(([code, [status]]) => ({ code, status, cells: 3 }))
  t.same(told, wanted)
})

t.test('docs/errors.md has every code that Caddy and nginx answer by themselves', async (t) => {
  const answered = [read('Caddyfile'), read('deploy/nginx.conf')].flatMap((text) => [
    ...text.matchAll(/^\s+(?:\d{3}|default) ([A-Z_]+)[ ;]/gm)
  ])
  t.ok(answered.length > 10)
  const told = section(errorsPage, "## Refused before wxgate's own code").matchAll(/`([A-Z_]+)`/g)
  const known = new Set([...told].map(([, code = '']) => code))
  t.same(
    answered.map(([, code = '']) => code).filter((code) => !known.has(code)),
    []
  )
})

t.test('every threat in SECURITY.md names the tests that prove what stops it', async (t) => {
  const rows = read('SECURITY.md')
    .split('\n| threat |')
    .slice(1)
    .flatMap((table) => table.split('\n').slice(2))
  const threats = rows.filter((row) => row.startsWith('| '))
  t.ok(threats.length > 25)
  for (const threat of threats) {
    const [, , tests = ''] = threat.split(' | ')
    t.match(tests, /\]\(test\/[\w./-]+\.test\.ts\)/, threat)
  }
})

t.test('every npm command of the pages is in package.json', async (t) => {
  const { scripts } = JSON.parse(read('package.json'))
  const named = pages.flatMap((page) => [...read(page).matchAll(/npm (?:run ([\w:-]+)|(start|test)\b)/g)])
  t.same(
    named.map(([, run, short]) => run ?? short ?? '').filter((name) => !(name in scripts)),
    []
  )
})

/** Names in capitals that are no settings: error codes, and what Caddy and Node.js take from their own environment. */
const otherNames = new Set([
  'NODE_COMPILE_CACHE',
  ...Object.keys(ERRORS),
  ...[...read('Caddyfile').matchAll(/\b[A-Z]+(?:_[A-Z]+)*\b/g)].map(([name]) => name)
])

t.test('every setting that README.md names is in docs/settings.md', async (t) => {
  const known = new Set([...read('docs/settings.md').matchAll(/`([A-Z][A-Z0-9_]+)`/g)].map(([, name = '']) => name))
  const prose = readme.replace(/^```(?:js|php|python).*?^```$/gms, '').replace(/\$\{?\w+|PUB_KEY_ID_\d+/g, '')
  const named = [...prose.matchAll(/\b[A-Z]{2,}(?:_[A-Z0-9]+)+\b|(?<=`)[A-Z]{4,}(?=`)/g)].map(([name]) => name)
  const unknown = named.filter((name) => !known.has(name) && !known.has(name.replace(/_FILE$/, '')))
  t.same(
    sorted(unknown).filter((name) => name !== 'NAME_FILE' && !otherNames.has(name)),
    []
  )
})

interface Ended {
  status: number | null
  stdout: string
}

/** A program that gets only PATH from our environment, so that neither tap nor the machine changes what it does. */
function start(command: string, args: string[], { cwd = ROOT, env = {} }: { cwd?: string; env?: NodeJS.ProcessEnv }) {
  return spawn(command, args, { cwd, env: { PATH: process.env.PATH, ...env }, stdio: ['pipe', 'pipe', 'inherit'] })
}

async function ended(child: ChildProcess): Promise<Ended> {
  let stdout = ''
  child.stdout?.on('data', (chunk) => {
    stdout += chunk
  })
  const [status] = await once(child, 'close')
  return { status, stdout }
}

t.test('the keys and settings that README.md shows make a start', { skip: !onPath('openssl') }, async (t) => {
  const { secrets } = makeMerchant({ appids: [APPID] })
  const folder = t.testdir({
    wechat_secret: '0123456789abcdef',
    wechat_pay_api_v3_key: secrets.apiV3Key,
    'apiclient_key.pem': secrets.privateKeyPem,
    'apiclient_cert.pem': secrets.certificatePem,
    'pub_key.pem': secrets.publicKeyPem ?? ''
  })
  const { status } = await ended(start('bash', ['--norc', '-ec', block(readme, 'sh', 'jwt_keys.pem')], { cwd: folder }))
  t.equal(status, 0)
  const lines = block(readme, 'ini', 'PUBLIC_URL').replaceAll('/etc/wxgate', folder).trim().split('\n')
  const env = Object.fromEntries(lines.map((line) => line.split(/=(.*)/, 2)))
  const settings = readSettings(env)
  t.equal(settings.tokens.jwtKeys[0]?.alg, 'EdDSA')
  t.match(settings.pay.merchants, [{ certSerial: secrets.certSerial, apiV3Key: secrets.apiV3Key }])
})

const isAbsent = (program: string) => (onPath(program) === undefined ? `there is no ${program} here` : false)

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`

/** Standard Webhooks by hand: HMAC-SHA256 over id, time and body. */
function signature(secret: string, id: string, seconds: string, body: string): string {
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64')
  return `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')}`
}

/** Posts a payment as wxgate does, and answers the status. */
async function deliver(url: string, id: string, fen: number, secret = SECRET): Promise<number> {
  const data = { outTradeNo: 'T20261123_0001', amount: { total: fen, currency: 'CNY' } }
  const body = JSON.stringify({ type: 'payment.succeeded', timestamp: new Date().toISOString(), data })
  const seconds = String(Math.floor(Date.now() / 1000))
  const headers = {
    'webhook-id': id,
    'webhook-timestamp': seconds,
    'webhook-signature': signature(secret, id, seconds, body)
  }
  return (await fetch(url, { method: 'POST', headers, body })).status
}

async function answering(url: string): Promise<void> {
  for (const giveUpAt = Date.now() + 60_000; Date.now() < giveUpAt; await pause(20)) {
    const answers = await fetch(url).then(
      () => true,
      () => false
    )
    if (answers) return
  }
  throw new Error(`nobody answers at ${url}`)
}

t.test('the receiver in README.md takes what is signed, once, and compares the amount', async (t) => {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/webhooks`
  const env = { PORT: String(port), WEBHOOK_SECRET: SECRET }
  const child = start(process.execPath, ['--input-type=module'], { env })
  t.teardown(() => child.kill())
  const outcome = ended(child)
  child.stdin.end(block(readme, 'js', "from 'standardwebhooks'"))
  await answering(url)

  t.equal(await deliver(url, 'pay_1', 1800, `whsec_${Buffer.alloc(32, 8).toString('base64')}`), 401)
  t.equal(await deliver(url, 'pay_2', 1), 204)
  t.equal(await deliver(url, 'pay_3', 1800), 204)
  t.equal(await deliver(url, 'pay_3', 1800), 204)
  child.kill()
  const { stdout } = await outcome
  t.equal(stdout, 'pay_2: no such order, or another amount; look at it\nT20261123_0001 is paid\n')
})

interface Receiver {
  command: string
  args(folder: string, port: number): string[]
  /** Files beside it, by name. */
  files: Record<string, string>
  skip: string | false
}

/** The libraries of PHP and Python as far as the receivers use them; that of Node.js is here. */
const PHP_LIBRARY = `<?php
namespace StandardWebhooks;
class Webhook {
  function __construct(private string $secret) {}
  function verify($body, $headers) {
    $key = base64_decode(substr($this->secret, 6));
    $text = $headers['webhook-id'] . '.' . $headers['webhook-timestamp'] . '.' . $body;
    $right = 'v1,' . base64_encode(hash_hmac('sha256', $text, $key, true));
    if (!hash_equals($right, $headers['webhook-signature'])) throw new \\Exception('No matching signature found');
    return json_decode($body, true);
  }
}
`
const PYTHON_LIBRARY = `import base64, hashlib, hmac, json
class WebhookVerificationError(Exception): pass
class Webhook:
    def __init__(self, secret): self.key = base64.b64decode(secret[6:])
    def verify(self, body, headers):
        given = {name.lower(): value for name, value in headers.items()}
        text = f"{given['webhook-id']}.{given['webhook-timestamp']}.".encode() + body
        right = "v1," + base64.b64encode(hmac.new(self.key, text, hashlib.sha256).digest()).decode()
        if not hmac.compare_digest(right, given["webhook-signature"]): raise WebhookVerificationError()
        return json.loads(body)
`

const hasFlask = () => spawnSync('python3', ['-c', 'import flask']).status === 0
const phpReceiver = block(readme, 'php', 'StandardWebhooks')
const nodeReceiver = block(readme, 'js', "from 'standardwebhooks'")

/** The receivers of README.md, each with a `take` that fails for the event pay_0. */
const RECEIVERS: Record<string, Receiver> = {
  'Node.js': {
    command: process.execPath,
    args: (folder) => [join(folder, 'receiver.mjs')],
    files: {
      'receiver.mjs': nodeReceiver.replace('{ type, data }) {', "$&\n  if (id === 'pay_0') throw new Error('away')")
    },
    skip: false
  },
  'Node.js, asynchronous': {
    command: process.execPath,
    args: (folder) => [join(folder, 'receiver.mjs')],
    files: {
      'receiver.mjs': nodeReceiver.replace(
        /^function take(.*)$/m,
        "async function take$1\n  await null\n  if (id === 'pay_0') throw new Error('away')"
      )
    },
    skip: false
  },
  PHP: {
    command: 'php',
    // Without a php.ini, as in the image of PHP: what is printed goes out at once.
    args: (folder, port) => ['-n', '-d', 'display_errors=1', '-S', `127.0.0.1:${port}`, join(folder, 'receiver.php')],
    files: {
      'receiver.php': phpReceiver,
      'take.php': `<?php
function take($id, $event) { echo "$id is taken"; if ($id === 'pay_0') throw new \\Exception('away'); }`,
      'autoload.php': PHP_LIBRARY
    },
    skip: isAbsent('php')
  },
  Python: {
    command: 'python3',
    args: (folder, port) => ['-m', 'flask', '--app', join(folder, 'receiver.py'), 'run', '--port', String(port)],
    files: {
      'receiver.py': `${block(readme, 'python', 'standardwebhooks')}
def take(id, event):
    if id == "pay_0": raise Exception("away")
`,
      'webhooks.py': PYTHON_LIBRARY
    },
    skip: isAbsent('python3') || (hasFlask() ? false : 'there is no flask here')
  }
}

/** A request whose body stops in its middle. */
async function breakOff(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.write('POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{')
  await once(socket, 'connect')
  socket.resetAndDestroy()
}

for (const [name, { command, args, files, skip }] of Object.entries(RECEIVERS)) {
  t.test(`the receiver for ${name} answers 500 where its own code fails, 401 to others alone`, { skip }, async (t) => {
    const { 'autoload.php': php = '', 'webhooks.py': python = '', ...own } = files
    const folder = t.testdir({
      ...own,
      node_modules: t.fixture('symlink', join(ROOT, 'node_modules')),
      vendor: { 'autoload.php': php },
      standardwebhooks: { '__init__.py': '', 'webhooks.py': python }
    })
    const port = await freePort()
    const env = { ...process.env, PORT: String(port), WEBHOOK_SECRET: SECRET, PYTHONPATH: folder }
    const child = start(command, args(folder, port), { env })
    t.teardown(() => child.kill())
    const url = `http://127.0.0.1:${port}/webhooks`
    await answering(url)
    t.equal(await deliver(url, 'pay_1', 1800, `whsec_${Buffer.alloc(32, 8).toString('base64')}`), 401)
    t.equal(await deliver(url, 'pay_0', 1800), 500)
    await breakOff(port)
    t.equal(await deliver(url, 'pay_1', 1800), 204, 'it is still there')
  })
}

/** Files beside the receiver for PHP, by name: what may be wrong with them, so that no event is taken. */
const BROKEN_PHP: Record<string, Record<string, string | object>> = {
  'its library is not there': { 'take.php': '<?php function take($id, $event) {}', vendor: {} },
  'its own code is not there': {},
  'its own code has a syntax error': { 'take.php': '<?php function take($id, $event) { $a = ; }' },
  'its own code does not end': { 'take.php': '<?php function take($id, $event) {' },
  'its own code has another name': { 'take.php': '<?php function takes($id, $event) {}' },
  'its own code is no PHP': { 'take.php': 'function take($id, $event) {}' },
  'its own code wants more': { 'take.php': '<?php function take($id, $event, $more) {}' },
  'its own code ends early': { 'take.php': '<?php function take($id, $event) { echo "x"; exit; }' },
  'its own code warns and fails': { 'take.php': '\n<?php echo $none; function take($id, $event) { $none->x(); }' }
}

for (const [name, files] of Object.entries(BROKEN_PHP)) {
  t.test(`the receiver for PHP answers 500 where ${name}`, { skip: isAbsent('php') }, async (t) => {
    const folder = t.testdir({ 'receiver.php': phpReceiver, vendor: { 'autoload.php': PHP_LIBRARY }, ...files })
    const port = await freePort()
    const child = start('php', RECEIVERS.PHP?.args(folder, port) ?? [], { env: { WEBHOOK_SECRET: SECRET } })
    t.teardown(() => child.kill())
    const url = `http://127.0.0.1:${port}/webhooks`
    await answering(url)
    t.equal(await deliver(url, 'pay_1', 1800), 500)
  })
}

t.test('the example in docs/events.md is signed as it says', async (t) => {
  const header = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(eventsPage)?.[1] ?? ''
  const secret = /`(whsec_[^`]+)`/.exec(eventsPage)?.[1] ?? ''
  const body = JSON.stringify(JSON.parse(block(eventsPage, 'json', 'payment.succeeded')))
  const expected = signature(secret, header('webhook-id'), header('webhook-timestamp'), body)
  t.equal(header('webhook-signature'), expected)
})

/** A gateway that listens, and that the sandbox of WeChat can call back. */
async function listening(t: Test, { env, ...options }: BuildOptions = {}): Promise<World & { gateway: string }> {
  const port = await freePort()
  const gateway = `http://127.0.0.1:${port}`
  const world = await build(t, { ...options, env: { PUBLIC_URL: gateway, ...env } })
  await world.app.listen({ host: '127.0.0.1', port })
  return { ...world, gateway }
}

/** The same kind of token keys as in `npm run dev`. */
const DEV_KEYS = {
  JWT_SECRET: undefined,
  JWT_KEYS: generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString()
}

interface Pasted extends Ended {
  folder: string
}

/** Runs commands as if somebody pasted them in the folder of a running `npm run dev`. */
async function paste(t: Test, world: World & { gateway: string }, code: string): Promise<Pasted> {
  const { gateway, sandbox, backend } = world
  const note = {
    gateway,
    sandbox: sandbox.origin,
    backend: backend.origin,
    appid: APPID,
    mchid: MCHID,
    apiKey: API_KEY
  }
  return pasteBeside(t, note, code)
}

async function pasteBeside(t: Test, note: DevWorld, code: string): Promise<Pasted> {
  const folder = t.testdir({ '.dev': { 'world.json': JSON.stringify(note) } })
  const shell = start('bash', ['--norc', '-eu', '-o', 'pipefail', '-c', code], { cwd: folder })
  return { folder, ...(await ended(shell)) }
}

t.test('the commands of docs/payments.md order, pay, close and give back', { skip: isAbsent('curl') }, async (t) => {
  const { server: _server, stop, ...note } = await startDevWorld({ port: 0, log: 'ignore' })
  t.teardown(stop)
  const blocks = [...paymentsPage.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, code = '']) => code)
  const { status, stdout } = await pasteBeside(t, note, blocks.join('\n'))
  t.equal(status, 0)
  const lines = stdout.split('\n').filter((line) => line !== '')
  const [paid, closed, asked, given, ...bill] = lines
  t.match(JSON.parse(paid ?? ''), { api: 'v3', state: 'SUCCESS', amount: { total: 1800 } })
  t.equal(closed, '204')
  t.match(JSON.parse(asked ?? ''), { state: 'PROCESSING', amount: { total: 1800, refund: 800 } })
  t.match(JSON.parse(given ?? ''), { state: 'SUCCESS', amount: { total: 1800, refund: 800 } })
  t.match(bill.join('\n'), /^\ufeff?交易时间.*`18\.00.*`8\.00/s)
})

t.test('the commands of README.md log in, order and pay', { skip: isAbsent('curl') }, async (t) => {
  const { status, stdout } = await paste(t, await listening(t), block(readme, 'sh', 'world()'))
  t.equal(status, 0)
  const [session, payment, events] = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.equal(session.sessionKeyHeld, true)
  t.match(payment.notices, [{ status: 200 }])
  t.match(events, [{ type: 'payment.succeeded', data: { openid: session.openid, amount: { total: 1800 } } }])
})

t.test('the commands of README.md find out who is calling, and call WeChat', { skip: isAbsent('curl') }, async (t) => {
  const world = await listening(t, { env: DEV_KEYS })
  const marks = ['world()', '/internal/introspect', '/cgi-bin/getcallbackip']
  const { status, stdout } = await paste(t, world, marks.map((mark) => block(readme, 'sh', mark)).join('\n'))
  t.equal(status, 0)
  const [, openid = ''] = /^x-wx-openid: (\S+)\r$/m.exec(stdout) ?? []
  t.match(stdout, /^HTTP\/1\.1 200 OK\r$/m)
  const [introspected, keys, answer] = stdout
    .trim()
    .split('\n')
    .slice(-3)
    .map((line) => JSON.parse(line))
  t.match(introspected, { active: true, sub: openid, aud: APPID })
  t.match(keys, { keys: [{ alg: 'ES256' }] })
  t.match(answer, { ip_list: [/./] })
})

t.test('the commands for phone numbers do what is said beside them', { skip: isAbsent('curl') }, async (t) => {
  const world = await listening(t)
  const number = { phoneNumber: '13000000000', purePhoneNumber: '13000000000', countryCode: '86', source: 'code' }
  const answers = async (blocks: string[]) => {
    const { status, stdout } = await paste(t, world, blocks.join('\n'))
    t.equal(status, 0)
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  }
  const inReadme = await answers([block(readme, 'sh', 'world()'), block(readme, 'sh', '/users/$OPENID/phone')])
  t.same(inReadme.at(-1), number)
  const inGuide = await answers([block(backendPage, 'sh', 'world()'), block(backendPage, 'bash', '/phone"')])
  t.same(inGuide, [number, { data: { steps: 7 } }])
})

t.test('the commands of docs/backend.md do what it says', { skip: isAbsent('curl') }, async (t) => {
  const world = await listening(t, { env: { ...DEV_KEYS, DOCS: 'on' } })
  const blocks = [...backendPage.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, code = '']) => code)
  const { folder, status, stdout } = await paste(
    t,
    world,
    blocks.filter((code) => !code.includes('openssl')).join('\n')
  )
  t.equal(status, 0)
  const lines = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const [token, keys, valid, signature, reset, accessToken, ips, safety, sessions, ...more] = lines
  const [revoked, ended, held, erased, openapi, logins] = more
  const json = [token, keys, valid, signature, accessToken, ips, safety, sessions, ended, held].map((line = '') =>
    JSON.parse(line)
  )
  t.match(json, [
    { active: true, aud: APPID },
    { keys: [{ alg: 'ES256' }] },
    { valid: true },
    { signature: /^[0-9a-f]{64}$/ },
    { accessToken: /./, expiresAt: /Z$/ },
    { ip_list: [/./] },
    { errcode: 0 },
    { items: [{ sessionId: json[0].sid }] },
    { active: false },
    { openid: json[0].sub, sessions: [], sessionKeys: [], counts: [] }
  ])
  t.same([reset, revoked, erased, openapi], ['204', '204', '204', '3.1.0'])
  t.match(logins, /^wxgate_logins_total\{.*outcome="ok"\} 1$/)
  t.equal(lines.length, 15)
  t.same(readFileSync(join(folder, 'code.jpg')).subarray(0, 2), Buffer.from([0xff, 0xd8]))
})

t.test(
  'the verifiers in docs/backend.md take a good token, and tell the user',
  { skip: isAbsent('python3') },
  async (t) => {
    const { app, sandbox, gateway } = await listening(t, { env: DEV_KEYS })
    const { token, openid, headers } = await logIn(app, sandbox)
    async function run(command: string, args: string[], code: string): Promise<string> {
      const env = { PUBLIC_URL: gateway, WXGATE: gateway, APPID, TOKEN: token, INTERNAL_API_KEY: API_KEY }
      const child = start(command, args, { env })
      child.stdin.end(code)
      return (await ended(child)).stdout.trim()
    }
    const verify = () => run(process.execPath, ['--input-type=module'], block(backendPage, 'js', "from 'jose'"))
    const ask = () =>
      run(
        'python3',
        ['-'],
        `${block(backendPage, 'python', 'user_of')}\nuser = user_of(os.environ["TOKEN"])\nprint(user and user["sub"])`
      )

    t.same([await verify(), await ask()], [openid, openid])
    await app.inject({ method: 'POST', url: '/api/logout', headers })
    t.same([await verify(), await ask()], [openid, 'None'], 'a signature alone does not know of a logout')
  }
)

/** The algorithms of the keys in a file, as a start reads it: the first signs. */
function algorithmsIn(file: string): string[] {
  const env = {
    PUBLIC_URL: 'https://wx.example.com',
    REDIS_URL: 'redis://127.0.0.1:6379',
    ENCRYPTION_KEYS: `k1:${Buffer.alloc(32, 7).toString('base64')}`,
    WECHAT_APPID: APPID,
    WECHAT_SECRET: 'secret',
    JWT_KEYS_FILE: file
  }
  return readSettings(env).tokens.jwtKeys.map(({ alg }) => alg)
}

t.test('the keys of tokens change in the steps of docs/backend.md', { skip: isAbsent('openssl') }, async (t) => {
  const folder = t.testdir({})
  const code = ['ec_paramgen_curve', 'shown.pem'].map((mark) => block(backendPage, 'sh', mark)).join('')
  const { status } = await ended(start('bash', ['--norc', '-ec', code], { cwd: folder }))
  t.equal(status, 0)
  t.same(
    ['jwt_keys', 'shown', 'signing', 'new'].map((name) => algorithmsIn(join(folder, `${name}.pem`))),
    [['ES256'], ['ES256', 'EdDSA'], ['EdDSA', 'ES256'], ['EdDSA']]
  )
})

interface WxRequest {
  url: string
  method: string
  data?: unknown
  header: Record<string, string>
  success(answer: { statusCode: number; data: unknown }): void
  fail(error: { errMsg: string }): void
}

/** What the mini-program's code needs of wx: one user of the sandbox, and counts of logins and refreshes. */
function pretendWx({ sandbox }: World) {
  let openid: string | undefined
  const wx = {
    logins: 0,
    refreshes: 0,
    user: () => openid ?? '',
    login({ success }: { success(answer: { code: string }): void }) {
      wx.logins += 1
      const user = sandbox.login({ appid: APPID, ...(openid !== undefined && { openid }) })
      openid = user.openid
      success(user)
    },
    request({ url, method, data, header, success, fail }: WxRequest) {
      if (url.endsWith('/api/token/refresh')) wx.refreshes += 1
      const body = data === undefined ? {} : { body: JSON.stringify(data) }
      const headers = { ...header, ...(data !== undefined && { 'content-type': 'application/json' }) }
      fetch(url, { method, headers, ...body })
        .then(async (answer) => success({ statusCode: answer.status, data: JSON.parse((await answer.text()) || '""') }))
        .catch((error: Error) => fail({ errMsg: error.message }))
    }
  }
  return wx
}

interface Api {
  login(): Promise<void>
  call(method: string, path: string, data?: object): Promise<Record<string, unknown>>
}

interface Page {
  onLoad(): Promise<void>
  onPhone(event: { detail: object }): Promise<void>
  setData(data: object): void
}

function loadApi(gateway: string, wx: object): Api {
  const module: { exports?: Api } = {}
  const code = block(readme, 'js', '// api.js').replace('https://wx.example.com', gateway)
  compileFunction(code, ['wx', 'module'])(wx, module)
  if (module.exports === undefined) throw new Error('api.js exports nothing')
  return module.exports
}

t.test("the mini-program's code in README.md logs in once for all, and again when the session ended", async (t) => {
  const { gateway, ...world } = await listening(t)
  const wx = pretendWx(world)
  const { call } = loadApi(gateway, wx)
  const [one, other] = await Promise.all([call('GET', '/api/session'), call('GET', '/api/session')])
  t.equal(one?.sessionId, other?.sessionId)
  t.equal(wx.logins, 1)

  await call('POST', '/api/logout', { everywhere: true })
  t.match(await call('GET', '/api/session'), { openid: wx.user() })
  t.equal(wx.logins, 2)
  await t.rejects(call('POST', '/api/phone', {}), { code: 'FST_ERR_VALIDATION' })
})

t.test("the mini-program's code in README.md refreshes its token, once for all, before it logs in again", async (t) => {
  let nowMs = Date.now()
  const { gateway, ...world } = await listening(t, { now: () => nowMs })
  const wx = pretendWx(world)
  const { call } = loadApi(gateway, wx)
  const first = await call('GET', '/api/session')
  for (let times = 0; times < 2; times += 1) {
    nowMs += 900_000
    const both = await Promise.all([call('GET', '/api/session'), call('GET', '/api/session')])
    t.match(both, [{ sessionId: first.sessionId }, { sessionId: first.sessionId }])
  }
  t.equal(wx.logins, 1)
  t.equal(wx.refreshes, 2)

  nowMs += 31 * 86_400_000
  t.not((await call('GET', '/api/session')).sessionId, first.sessionId)
  t.equal(wx.logins, 2)
})

t.test("the mini-program's page in README.md reads the phone number", async (t) => {
  const { gateway, ...world } = await listening(t)
  const wx = pretendWx(world)
  const api = loadApi(gateway, wx)
  let page: Page | undefined
  const keep = (made: Page) => {
    page = made
  }
  compileFunction(block(readme, 'js', 'Page({'), ['wx', 'require', 'Page'])(wx, () => api, keep)
  const shown: object[] = []
  const screen = { ...page, setData: (data: object) => shown.push(data) } as unknown as Page
  await screen.onLoad()
  await screen.onPhone({ detail: world.sandbox.phoneButton({ appid: APPID, openid: wx.user() }) })
  await screen.onPhone({ detail: { errMsg: 'getPhoneNumber:fail user deny' } })
  t.match(shown, [{ phoneNumber: /^\d{11}$/ }])
  t.equal(shown.length, 1)
})

/** Runs a script of docs/operations.md as whoever runs the gateway. */
function operate(mark: string, env: NodeJS.ProcessEnv): Promise<Ended> {
  return ended(start('bash', ['--norc', '-euc', block(operationsPage, 'sh', mark)], { env }))
}

const ABOUT_LISTS = 'the calls of docs/operations.md list and repeat callbacks in quarantine and events that failed'

t.test(ABOUT_LISTS, { skip: isAbsent('curl') }, async (t) => {
  const { gateway, app, sandbox, backend } = await listening(t)
  const env = { WXGATE: gateway, INTERNAL_API_KEY: API_KEY }
  const read = async (mark: string, more = {}) => JSON.parse((await operate(mark, { ...env, ...more })).stdout)
  const { openid } = sandbox.login({ appid: APPID })
  const order = await app.inject({
    method: 'POST',
    url: '/internal/pay/orders',
    headers: { authorization: `Bearer ${API_KEY}` },
    payload: { openid, outTradeNo: 'docs-1', description: 'One coffee', amount: 1800 }
  })
  const { prepayId } = order.json()

  await sandbox.pay({ prepayId, overrides: { total_fee: '1' } })
  const { items } = await read('quarantined?')
  t.match(items, [{ door: 'pay-v2', reason: 'amount-mismatch', identity: /^pay_1900000109_\d+$/, times: 1 }])
  t.match(await read('$ID/retry', { ID: items[0].id }), { verdict: 'quarantined', reason: 'amount-mismatch' })
  t.match(await read('refused?'), { items: [{ verdict: 'quarantined', reason: 'amount-mismatch' }] })

  backend.respond(410, 1)
  const { transactionId } = await sandbox.pay({ prepayId })
  const id = `pay_1900000109_${transactionId}`
  await backend.waitFor((event) => event.id === id && event.attempts === 1)
  for (const giveUpAt = Date.now() + 5000; Date.now() < giveUpAt; await pause(20)) {
    const { stdout } = await operate('redeliver', env)
    if (stdout === `${id}\n`) break
  }
  await t.resolves(backend.waitFor((event) => event.id === id && event.accepted))
  t.same((await operate('redeliver', env)).stdout, '')
})
