/** A client whose types somebody else's generator makes from docs/openapi.json: it compiles, and it works. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { API_KEY, build, MCHID } from './helper.ts'
import { notify, payment, SUCCESS, signed } from './routes/wechat/notices.ts'

const ROOT = join(import.meta.dirname, '..')
const FOLDER = join(ROOT, 'test/openapi-client')
const TYPES = join(FOLDER, 'node_modules/.cache/wxgate-api.d.ts')

/** Empty where it went well, else what it said. tsc does not run with what tap puts into NODE_OPTIONS. */
function run(...words: string[]): string {
  const { status, stdout, stderr, error } = spawnSync('env', ['-u', 'NODE_OPTIONS', ...words], {
    cwd: FOLDER,
    encoding: 'utf8'
  })
  return status === 0 ? '' : `${stdout}${stderr}${error ?? ''} (${status})`
}

/** The generator works with an older TypeScript than ours, so it is installed in a folder of its own. */
t.before(() => {
  if (run('npm', 'ls') === '') return
  const trouble = run('npm', 'ci')
  if (trouble !== '') throw new Error(`npm ci in test/openapi-client: ${trouble}`)
})

t.test('a client made from docs/openapi.json compiles', async (t) => {
  const document = join(ROOT, 'docs/openapi.json')
  t.equal(run(join(FOLDER, 'node_modules/.bin/openapi-typescript'), document, '--output', TYPES), '')
  t.equal(run(join(ROOT, 'node_modules/.bin/tsc'), '--project', FOLDER), '')
})

t.test('and it lists failed events, makes an order, and reads what was paid', async (t) => {
  const { app, secrets } = await build(t, { env: { WEBHOOK_URL: undefined } })
  const baseUrl = await app.listen({ port: 0, host: '127.0.0.1' })
  const sample = await import(join(FOLDER, 'sample.ts'))
  const gateway = sample.connect(baseUrl, API_KEY)
  t.same(await sample.listFailed(gateway), [])
  const payParams = await sample.orderTea(gateway, 'oZNnE1nCIQif3LUPeKGGo3ey12WG', 'T20261123_0001')
  t.match(payParams, { package: /^prepay_id=/, paySign: /./ })

  const fields = payment()
  t.equal((await notify(app, signed(fields, secrets.apiV2Key))).body, SUCCESS)
  t.equal(await sample.paidFenOf(gateway, `pay_${MCHID}_${fields.transaction_id}`), 100)
  await t.rejects(sample.listFailed(sample.connect(baseUrl, 'wrong')), /^TOKEN_INVALID: /)
})
