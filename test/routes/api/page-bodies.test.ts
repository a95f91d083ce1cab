/** What pages post: members that are absent in every way, whole details of events, and names that are almost right. */
import t, { type Test } from 'tap'
import { APPID, build, logIn, type World } from '../../helper.ts'
import { type Answer, callsOf, post, refused } from './client.ts'

const NUMBER = { phoneNumber: '13000000000', purePhoneNumber: '13000000000', countryCode: '86' }

/** What a page gets with a button's event, with letters of base64 that have two spellings. */
function pressed({ sandbox }: World, openid: string): { code: string; encryptedData: string; iv: string } {
  const made = sandbox.phoneButton({ appid: APPID, openid })
  const isTelling = /\+.*=$|=.*\+/.test(made.encryptedData) && /[+/]/.test(made.iv)
  return isTelling ? made : pressed({ sandbox } as World, openid)
}

function gives(t: Test, answer: Answer, body: object, name: string): void {
  t.same(answer.json(), body, name)
  t.equal(answer.statusCode, 200, name)
}

/** A refusal that names the member. */
function names(t: Test, answer: Answer, message: RegExp, name: string): void {
  refused(t, answer, 400, 'FST_ERR_VALIDATION', { error: 'Bad Request' })
  t.match(answer.json().message, message, name)
}

t.test('phone() takes what is there', async (t) => {
  const world = await build(t, { env: { RATE_LIMIT: '0' } })
  const { app, sandbox } = world
  const { openid, headers } = await logIn(app, sandbox)
  const ask = (body: object) => post(app, '/api/phone', body, headers)
  const { code, encryptedData, iv } = pressed(world, openid)
  const data = { encryptedData, iv }
  const change = (edit: (text: string) => string) => ({ encryptedData: edit(encryptedData), iv: edit(iv) })
  const dataOnly: [name: string, body: object][] = [
    ['no code', data],
    ['a code of null', { code: null, ...data }],
    ['an empty code', { code: '', ...data }],
    ['the details of the event', { ...data, errMsg: 'getPhoneNumber:ok', cloudID: '12_abc', code: '', errno: 0 }],
    [
      'members of other calls',
      { ...data, rawData: '{}', signature: 'x', openid: 'oOther', appid: 7, userInfo: { a: 1 } }
    ],
    ['spaces for +', change((text) => text.replaceAll('+', ' '))],
    ['percent-encoded', change(encodeURIComponent)],
    ['percent-encoded iv', { encryptedData, iv: encodeURIComponent(iv) }],
    ['base64url', change((text) => text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', ''))],
    ['no padding', change((text) => text.replaceAll('=', ''))],
    ['line breaks', change((text) => text.replaceAll(/.{8}/g, '$&\n'))],
    ['line breaks of Windows at the end', change((text) => `${text}\r\n`)]
  ]
  for (const [name, body] of dataOnly) gives(t, await ask(body), NUMBER, name)
  t.equal(callsOf(sandbox, 'getuserphonenumber').length, 0, 'all of it was decrypted')

  const codes: [name: string, body: (code: string) => object][] = [
    ['a code', (code) => ({ code })],
    ['the details of the event of the newer button', (code) => ({ code, errMsg: 'getPhoneNumber:ok' })],
    ['data that is null', (code) => ({ code, encryptedData: null, iv: null })],
    ['data that is empty', (code) => ({ code, encryptedData: '', iv: '' })],
    ['details with data that is absent', (code) => ({ code, errMsg: 'x', encryptedData: '', iv: null, cloudID: '' })]
  ]
  for (const [name, body] of codes)
    gives(t, await ask(body(sandbox.phoneButton({ appid: APPID, openid }).code)), NUMBER, name)
  t.equal(callsOf(sandbox, 'getuserphonenumber').length, codes.length)

  const refusals: [body: object, message: RegExp][] = [
    [{}, /body must have code or encryptedData/],
    [{ errMsg: 'getPhoneNumber:fail user deny' }, /body must have code or encryptedData/],
    [{ code: null, encryptedData: null, iv: null }, /code or encryptedData/],
    [{ code: '', encryptedData: '', iv: '' }, /code or encryptedData/],
    [{ encryptedData }, /\biv\b/],
    [{ iv }, /encryptedData/],
    [{ encryptedData, iv: '' }, /\biv\b/],
    [{ code, encryptedData, iv: null }, /\biv\b/],
    [{ encrypted_data: encryptedData, iv }, /encrypted_data; it is called encryptedData/],
    [{ encryptData: encryptedData, iv }, /encryptData; it is called encryptedData/],
    [{ phoneCode: code }, /phoneCode; it is called code/],
    [{ Code: code }, /Code; it is called code/],
    [{ code: 7 }, /body\/code must be string: from the button's event/],
    [{ code: { code } }, /body\/code must be string/],
    [{ code: 'x'.repeat(129) }, /body\/code/],
    [{ encryptedData, iv: 16 }, /body\/iv must be string/],
    [{ encryptedData: '{"phoneNumber":1}', iv }, /body\/encryptedData .*base64/]
  ]
  for (const [body, message] of refusals) names(t, await ask(body), message, JSON.stringify(body).slice(0, 60))
  const logs = world.logs()
  for (const secret of [encryptedData, code, '13000000000']) t.equal(logs.includes(secret), false)
})

t.test('userdata() takes what is there', async (t) => {
  const world = await build(t, { env: { RATE_LIMIT: '0' } })
  const { app, sandbox } = world
  const { openid, headers } = await logIn(app, sandbox)
  const ask = (body: object) => post(app, '/api/userdata', body, headers)
  const { rawData, signature, encryptedData, iv } = sandbox.openData({ appid: APPID, openid, data: { steps: 7 } })
  const data = { data: { steps: 7 } }
  const taken: [name: string, body: object][] = [
    [
      'all that wx.getUserInfo gives',
      { errMsg: 'ok', userInfo: {}, rawData, signature, encryptedData, iv, cloudID: '1' }
    ],
    ['encrypted alone', { encryptedData, iv, rawData: null, signature: null }],
    ['encrypted beside empty texts', { encryptedData, iv, rawData: '', signature: '' }],
    ['rawData alone', { rawData, signature, encryptedData: null, iv: '' }]
  ]
  for (const [name, body] of taken) gives(t, await ask(body), data, name)
  const refusals: [body: object, message: RegExp][] = [
    [{}, /body must have encryptedData or rawData/],
    [{ rawData }, /signature/],
    [{ signature, rawData: '' }, /rawData/],
    [{ encryptedData, iv, rawData }, /signature/],
    [{ rawData: { steps: 7 }, signature }, /body\/rawData must be string: the text, exactly as the page got it/],
    [{ raw_data: rawData, signature }, /raw_data; it is called rawData/],
    [{ rawData, signature: 'abc' }, /body\/signature must match/]
  ]
  for (const [body, message] of refusals) names(t, await ask(body), message, JSON.stringify(body).slice(0, 60))
})

t.test('login, refresh and logout take what is there', async (t) => {
  const world = await build(t, { env: { RATE_LIMIT: '0' } })
  const { app, sandbox } = world
  const fresh = () => sandbox.login({ appid: APPID }).code
  const logins: [name: string, more: object][] = [
    ['what wx.login gives', { errMsg: 'login:ok' }],
    ['an appid of null', { appid: null }],
    ['an empty appid', { appid: '' }],
    ['the appid', { appid: APPID }],
    ['members of no call', { userInfo: { nickName: 'x' }, scene: 1001 }]
  ]
  for (const [name, more] of logins)
    t.equal((await post(app, '/api/login', { code: fresh(), ...more })).statusCode, 200, name)
  const { refreshToken, openid, headers } = await logIn(app, sandbox)
  const refusals: [url: string, body: object, message: RegExp][] = [
    ['/api/login', {}, /'code': from wx.login/],
    ['/api/login', { code: null }, /'code'/],
    ['/api/login', { code: '' }, /'code'/],
    ['/api/login', { js_code: 'x' }, /js_code; it is called code/],
    ['/api/login', { code: 'x', appId: APPID }, /appId; it is called appid/],
    ['/api/login', { code: 'x', appid: 7 }, /body\/appid must be string/],
    ['/api/login', { code: 'x', appid: 'touristappid' }, /body\/appid must match .*: of the mini-program/],
    ['/api/token/refresh', {}, /'refreshToken': from login or the last refresh/],
    ['/api/token/refresh', { refreshToken: null }, /'refreshToken'/],
    ['/api/token/refresh', { refresh_token: refreshToken }, /refresh_token; it is called refreshToken/],
    ['/api/token/refresh', { refreshToken: [refreshToken] }, /body\/refreshToken must be string/],
    ['/api/logout', { everywhere: 'yes' }, /body\/everywhere must be boolean: all sessions/],
    ['/api/logout', { Everywhere: true }, /Everywhere; it is called everywhere/],
    ['/api/logout', { all: true }, /body must not have all/],
    ['/api/logout', { '13000000000': true }, /body has a member that is not known/]
  ]
  for (const [url, body, message] of refusals) names(t, await post(app, url, body, headers), message, url)
  t.equal((await post(app, '/api/token/refresh', { refreshToken, errMsg: 'ok' })).statusCode, 200)
  t.notMatch(world.logs(), /13000000000/, 'no name of a member is logged that may be anything')

  const logouts: [name: string, body: object, left: number][] = [
    ['null', { everywhere: null }, 1],
    ['an empty text', { everywhere: '' }, 1],
    ['false', { everywhere: false }, 1],
    ['true', { everywhere: true }, 0]
  ]
  for (const [name, body, left] of logouts) {
    await app.sessions.store.closeAll({ appid: APPID, openid })
    await logIn(app, sandbox, openid)
    const { headers: own } = await logIn(app, sandbox, openid)
    t.equal((await post(app, '/api/logout', body, own)).statusCode, 204, name)
    const { items } = await app.sessions.store.list({ appid: APPID, openid }, { limit: 20 })
    t.equal(items.length, left, name)
  }
})
