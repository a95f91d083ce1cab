/** Token introspection (RFC 7662), as the merchant's backend asks. */
import t from 'tap'
import { API_KEY, APPID, build, logIn, OTHER_APPID, type World } from '../../helper.ts'

const internal = { authorization: `Bearer ${API_KEY}` }
const form = { ...internal, 'content-type': 'application/x-www-form-urlencoded' }

const introspect = (
  { app }: Pick<World, 'app'>,
  payload: object | string,
  headers: Record<string, string> = internal
) => app.inject({ method: 'POST', url: '/internal/introspect', headers, payload })

t.test('introspect() says whose a token is, asked by JSON or by form', async (t) => {
  const world = await build(t)
  const { token, openid } = await logIn(world.app, world.sandbox)
  const byJson = await introspect(world, { token, token_type_hint: 'access_token' })
  t.equal(byJson.statusCode, 200)
  t.match(byJson.headers, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' })
  const claims = byJson.json()
  const session = await world.app.inject({ url: '/api/session', headers: { authorization: `Bearer ${token}` } })
  const { sessionId, unionid } = session.json()
  t.match(claims, { active: true, sub: openid, aud: APPID, iss: 'https://wx.example.test', sid: sessionId, unionid })
  t.equal(claims.exp - claims.iat, 900)
  t.same(Object.keys(claims).sort(), ['active', 'aud', 'exp', 'iat', 'iss', 'jti', 'sid', 'sub', 'unionid'])

  const byForm = await introspect(
    world,
    new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
    form
  )
  t.same(byForm.json(), claims)
})

t.test('introspect() calls every other token inactive, and says no more', async (t) => {
  let nowMs = Date.now()
  const world = await build(t, { now: () => nowMs })
  const { app, sandbox, another } = world
  const ended = await logIn(app, sandbox)
  await app.inject({ method: 'POST', url: '/api/logout', headers: ended.headers })
  const { token, refreshToken } = await logIn(app, sandbox)
  const elsewhere = await another({ WECHAT_APPID: OTHER_APPID, WECHAT_SECRET: world.secrets.otherAppSecret })
  const { code } = sandbox.login({ appid: OTHER_APPID })
  const foreign = (await elsewhere.inject({ method: 'POST', url: '/api/login', payload: { code } })).json().token

  const inactive = {
    ended: ended.token,
    refreshToken,
    foreign,
    forged: `${token}x`,
    nonsense: 'x',
    long: 'y'.repeat(8192)
  }
  for (const [name, other] of Object.entries(inactive)) {
    const answer = await introspect(world, { token: other })
    t.same([answer.statusCode, answer.body], [200, '{"active":false}'], name)
  }
  t.equal((await introspect(world, { token })).json().active, true)
  nowMs += 900_000
  t.equal((await introspect(world, { token })).body, '{"active":false}', 'expired')
})

t.test('introspect() refuses what is no question', async (t) => {
  const world = await build(t)
  const refused = async (payload: object | string, headers: Record<string, string>) => {
    const answer = await introspect(world, payload, headers)
    return [answer.statusCode, answer.json().code]
  }
  t.same(await refused({}, internal), [400, 'FST_ERR_VALIDATION'])
  t.same(await refused({ token: '' }, internal), [400, 'FST_ERR_VALIDATION'])
  t.same(await refused('token=a&token=b', form), [400, 'FST_ERR_VALIDATION'])
  t.same(await refused('<token/>', { ...internal, 'content-type': 'text/xml' }), [
    415,
    'FST_ERR_CTP_INVALID_MEDIA_TYPE'
  ])
  t.same(await refused({ token: 'x' }, {}), [401, 'TOKEN_MISSING'])
  const { headers } = await logIn(world.app, world.sandbox)
  t.same(await refused({ token: 'x' }, headers), [401, 'TOKEN_INVALID'], "a user's token opens nothing here")
})
