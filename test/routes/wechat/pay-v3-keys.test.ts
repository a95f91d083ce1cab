/**
 * How the endpoint for APIv3 gets WeChat's keys: fetched, shared, renewed, and never waited for at the start
 * (docs/wechat/pay.md B4, B5).
 */
import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import type { Sandbox } from '../../../sandbox/index.ts'
import { MCHID } from '../../helper.ts'
import { NO_WORKER } from './notices.ts'
import { answers, buildV3, envelope, eventsIn, keys, notify, payment, privateKeyOf, signed } from './v3-notices.ts'

const HOUR_MS = 3_600_000
const by = (name: string, nowMs = Date.now()) => ({
  key: privateKeyOf(name),
  serial: keys[name].serial,
  timestamp: Math.floor(nowMs / 1000)
})
const notice = (signing: object) => signed(envelope(payment()), signing)
const questions = (pay: Sandbox) => pay.calls().filter(({ api }) => api === 'v3_certificates').length

t.test(
  'row 7: certificates come for the first callback that names one, in either mode, and are shared sealed',
  async (t) => {
    for (const mode of ['both', 'certificates'] as const) {
      const { app, another, pay } = await buildV3(t, { mode, env: NO_WORKER })
      const others = [await another(), await another()]
      for (const each of [app, ...others])
        for (const name of ['platformA', 'platformB'])
          answers(t, await notify(each, notice(by(name))), 204, `${mode} ${name}`)
      t.equal(questions(pay), 1, 'one instance asks once')
      const place = app.keys.platformCertificates(MCHID)
      t.notMatch(String(await app.redis.getBuffer(place)), keys.platformA.serial)
      await pay.close()
      answers(t, await notify(await another(), notice(by('platformB'))), 204, 'a new instance needs no WeChat')
    }
  }
)

t.test('by the public key alone nobody asks for certificates, and both serials are taken side by side', async (t) => {
  const { app, pay } = await buildV3(t, { mode: 'both', env: NO_WORKER })
  for (const _ of [1, 2]) answers(t, await notify(app, notice({})), 204)
  t.equal(questions(pay), 0)
  answers(t, await notify(app, notice(by('platformA'))), 204)
  answers(t, await notify(app, notice({})), 204)
  t.equal(questions(pay), 1)
})

t.test('row 7: unknown serials are refused, and ask WeChat once a minute over all instances', async (t) => {
  const { app, another, pay } = await buildV3(t, { mode: 'certificates', env: NO_WORKER })
  const both = [app, await another()]
  const { privateKey: key } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const forged = () =>
    notice({
      key,
      serial: [...crypto.getRandomValues(new Uint8Array(20))]
        .map((byte) => byte.toString(16).padStart(2, '0'))
        .join('')
        .toUpperCase()
    })
  const all = Array.from({ length: 20 }, (_, index) => notify(both[index % 2] ?? app, forged()))
  for (const answer of await Promise.all(all)) answers(t, answer, 401)
  t.equal(questions(pay), 1)
  const leftMs = await app.redis.pttl(app.keys.platformCertificatesPause(MCHID))
  t.ok(leftMs > 50_000 && leftMs <= 60_000, `${leftMs} ms`)
  await app.redis.del(app.keys.platformCertificatesPause(MCHID))
  answers(t, await notify(app, forged()), 401)
  t.equal(questions(pay), 2)
})

t.test('while WeChat rotates its certificate, every callback finds its key', async (t) => {
  const { app, pay } = await buildV3(t, { mode: 'both', env: NO_WORKER })
  const fresh = { mchid: MCHID, stage: 'listed' } as const
  answers(t, await notify(app, notice(by('platformA'))), 204)
  const { listed } = pay.rotateCertificate(fresh)
  t.equal(listed.length, 2, 'the oldest is no longer listed')
  await app.redis.del(app.keys.platformCertificatesPause(MCHID))
  const strange = notice({ ...by('platformA'), serial: 'B'.repeat(40) })
  answers(t, await notify(app, strange), 401, 'makes the list be fetched')
  t.equal(questions(pay), 2)
  answers(t, await notify(app, notice(by('platformB'))), 204, 'still listed')
  answers(t, await notify(app, notice(by('platformA'))), 401, 'no longer listed')
})

t.test('whoever writes into Redis cannot plant a certificate', async (t) => {
  const { app, another } = await buildV3(t, { mode: 'public-key', env: NO_WORKER })
  const certificate = { serial: keys.platformA.serial, notBeforeMs: 0, notAfterMs: 4e12, pem: keys.platformA.certPem }
  const list = JSON.stringify({ fetchedAtMs: Date.now(), certificates: [certificate] })
  const place = app.keys.platformCertificates(MCHID)
  for (const planted of [list, app.sealer.seal(Buffer.from(list), 'elsewhere')]) {
    await app.redis.set(place, planted)
    answers(t, await notify(await another(), notice(by('platformA'))), 401)
  }
  await app.redis.set(place, app.sealer.seal(Buffer.from(list), place))
  answers(t, await notify(await another(), notice(by('platformA'))), 204, 'what we sealed ourselves is taken')
})

t.test(
  'certificates are renewed after twelve hours, by one instance, and the old ones serve while WeChat is away',
  async (t) => {
    let nowMs = Date.now()
    const { app, another, pay } = await buildV3(t, { mode: 'both', env: NO_WORKER, now: () => nowMs })
    const both = [app, await another()]
    const account = app.pay.v3.accounts.of({ mchid: MCHID })
    const renew = () => Promise.all(both.map(({ pay }) => pay.v3.platformKeys.renew(account)))
    const endPause = () => app.redis.del(app.keys.platformCertificatesPause(MCHID))
    await renew()
    await endPause()
    nowMs += 12 * HOUR_MS - 1
    await renew()
    t.equal(questions(pay), 1, 'not yet')
    nowMs += 1
    await renew()
    t.equal(questions(pay), 2)
    await endPause()
    nowMs += 13 * HOUR_MS
    await pay.close()
    await renew()
    for (const each of both) answers(t, await notify(each, notice(by('platformA', nowMs))), 204)
  }
)

t.test(
  'row 7: a silent WeChat is waited for 1.5 s at most, and a start needs neither it nor certificates',
  async (t) => {
    const { app, pay, logs } = await buildV3(t, { mode: 'both', env: NO_WORKER })
    pay.fault({ api: 'v3_certificates', delayMs: 20_000, times: 0 })
    const startedAt = performance.now()
    const all = [1, 2, 3].map(() => notify(app, notice(by('platformA'))))
    for (const answer of await Promise.all(all)) answers(t, answer, 401)
    t.ok(performance.now() - startedAt < 2000)
    answers(t, await notify(app, notice({})), 204, 'the public key needs nobody')
    t.same((await eventsIn(app)).length, 1)
    await app.close()
    t.notMatch(logs(), '"level":50')
  }
)

t.test(
  'a WeChat that fails is asked again soon, then ever more seldom, and what is for good after a minute',
  async (t) => {
    const { app, pay } = await buildV3(t, { mode: 'both', env: NO_WORKER })
    const key = app.keys.platformCertificatesPause(MCHID)
    const busy = { errcode: 'SYSTEM_ERROR', httpStatus: 500 }
    const pauses: [fault: object, min: number, max: number][] = [
      [busy, 0, 2000],
      [{ reset: true, times: 2 }, 2000, 4000],
      [{ httpStatus: 502 }, 4000, 8000],
      [{ errcode: 'SIGN_ERROR', httpStatus: 401 }, 50_000, 60_000]
    ]
    for (const [fault, min, max] of pauses) {
      pay.fault({ api: 'v3_certificates', ...fault })
      answers(t, await notify(app, notice(by('platformA'))), 401)
      const leftMs = await app.redis.pttl(key)
      t.ok(leftMs > min && leftMs <= max, `${leftMs} ms`)
      pay.clearFaults()
      await app.redis.del(key)
    }
    answers(t, await notify(app, notice(by('platformA'))), 204)
    t.ok((await app.redis.pttl(key)) > 50_000)
  }
)

t.test('a start at which WeChat fails has its certificates soon, though no message asks for them', async (t) => {
  const { app, another, pay } = await buildV3(t, { mode: 'certificates', env: NO_WORKER })
  const place = app.keys.platformCertificates(MCHID)
  while ((await app.redis.exists(place)) === 0);
  await app.redis.del(place, app.keys.platformCertificatesPause(MCHID))
  const before = questions(pay)
  pay.fault({ api: 'v3_certificates', errcode: 'SYSTEM_ERROR', httpStatus: 500 })
  await another()
  while ((await app.redis.exists(place)) === 0);
  t.equal(questions(pay), before + 2)
})

t.test('a list sealed under another APIv3 key than ours, or signed by nobody, is not taken', async (t) => {
  const { app, another, pay, logs } = await buildV3(t, { mode: 'both', env: NO_WORKER })
  const endPause = () => app.redis.del(app.keys.platformCertificatesPause(MCHID))
  const mistaken = await another({ WECHAT_PAY_API_V3_KEY: 'x'.repeat(32) })
  answers(t, await notify(mistaken, notice(by('platformA'))), 401)
  t.match(logs(), /WECHAT_CONFIG_INVALID[^\n]*unopenable/)
  for (const signature of ['absent', 'wrong', 'body', 'signtest', 'unknown-serial', 'stale', 'ahead'] as const) {
    await endPause()
    pay.fault({ api: 'v3_certificates', signature })
    answers(t, await notify(app, notice(by('platformA'))), 401, signature)
  }
  await endPause()
  answers(t, await notify(app, notice(by('platformA'))), 204)
})
