/** The cryptography of message push against WeChat's published samples and against another implementation. */
import fc from 'fast-check'
import t from 'tap'
import { sealReply } from '../../../lib/push/answer.ts'
import { decryptPush, encryptPush, signPush, verifyPush } from '../../../lib/push/encryption.ts'
import { openPush, type PushOpening, readQuery } from '../../../lib/push/open.ts'
import { AES_KEY, encryptBytes } from '../../routes/wechat/pushes.ts'
import { vectors } from '../../vectors.ts'
import { WXBizMsgCrypt } from '../../wechat-crypto.ts'

const { officialJson, officialXmlSample, sdkSamples, synthetic } = vectors('message-push')

interface Keys {
  appid: string
  token: string
  encodingAESKey?: string
}

/** Opens a push as the endpoint does, at the time in its query. */
function open({ appid, token, encodingAESKey }: Keys, query: Record<string, string>, body: string): PushOpening {
  const app = { appid, secret: 's', pushToken: token, ...(encodingAESKey && { pushAesKey: encodingAESKey }) }
  return openPush(app, readQuery(query), Buffer.from(body), Number(query.timestamp) * 1000)
}

const rawOf = (opened: PushOpening) => (opened.status === 'opened' ? opened.message.raw : opened.reason)

t.test('verifyPush() takes the official URL check, and nothing beside it', async (t) => {
  const { query, sorted } = officialJson.urlVerification
  const parts = [officialJson.token, query.timestamp, query.nonce]
  t.same([...parts].sort(), sorted)
  t.equal(signPush(parts), query.signature)
  t.ok(verifyPush(parts, query.signature))
  for (const wrong of [undefined, '', query.signature.slice(1), query.signature.toUpperCase(), `${query.signature} `])
    t.notOk(verifyPush(parts, wrong), wrong)
  t.notOk(verifyPush(['AAAAB', query.timestamp, query.nonce], query.signature))
})

t.test('openPush() opens the official plain push', async (t) => {
  const { query, body } = officialJson.plaintextPush
  const { encodingAESKey, ...keys } = officialJson
  t.same(rawOf(open(keys, query, JSON.stringify(body))), body)
  t.equal(rawOf(open({ ...keys, encodingAESKey }, query, JSON.stringify(body))), 'downgrade')
})

t.test('openPush() opens the official safe push', async (t) => {
  const { query, body, decrypted } = officialJson.safeModePush
  t.same(rawOf(open(officialJson, query, JSON.stringify(body))), JSON.parse(decrypted.msg))
  const { message, appid } = decryptPush(body.Encrypt, officialJson.encodingAESKey) ?? {}
  t.equal(String(message), decrypted.msg)
  t.equal(message?.length, decrypted.msgLen)
  t.equal(appid, decrypted.appid)
})

t.test('openPush() opens the official XML sample, of which it believes the encrypted part alone', async (t) => {
  const query = { ...officialXmlSample.query, encrypt_type: 'aes' }
  const opened = open(officialXmlSample, query, officialXmlSample.body)
  t.match(opened, {
    format: 'xml',
    encrypted: true,
    message: { msgId: '6054768590064713728', msgType: 'text', createTime: '2014-09-03T09:14:28.000Z' }
  })
  const forged = officialXmlSample.body.replace('abcdteT', 'forged').replace('oyORnuP8q7ou', 'oForgedForge')
  t.same(rawOf(open(officialXmlSample, query, forged)), rawOf(opened))
})

t.test('decryptPush() and encryptPush() agree with the samples of SDKs', async (t) => {
  const [reused, fixed] = sdkSamples
  t.equal(String(decryptPush(reused.Encrypt, reused.encodingAESKey)?.message), reused.decrypted.msg)
  const parts = [reused.token, reused.query.timestamp, reused.query.nonce, reused.Encrypt]
  t.equal(signPush(parts), reused.query.msg_signature)
  const keys = { aesKey: fixed.encodingAESKey, appid: fixed.appid, random: Buffer.from(fixed.random) }
  t.equal(encryptPush(fixed.msg, keys), fixed.Encrypt)
  t.equal(signPush([fixed.token, fixed.timestamp, fixed.nonce, fixed.Encrypt]), fixed.msg_signature)
})

t.test('openPush() takes a full block of padding and UTF-8, and refuses what is for another app', async (t) => {
  const [padded, chinese, foreign] = synthetic
  for (const { token, encodingAESKey: aesKey, appid, random, msg, Encrypt, timestamp, nonce, ...vector } of [
    padded,
    chinese
  ]) {
    t.equal(encryptPush(msg, { aesKey, appid, random: Buffer.from(random) }), Encrypt, vector.name)
    t.match(decryptPush(Encrypt, aesKey), { message: Buffer.from(msg), appid }, vector.name)
    t.equal(signPush([token, timestamp, nonce, Encrypt]), vector.msg_signature, vector.name)
  }
  const push = ({ timestamp, nonce, msg_signature, Encrypt }: Record<string, string>) =>
    [
      { timestamp, nonce, msg_signature, encrypt_type: 'aes' } as Record<string, string>,
      JSON.stringify({ Encrypt })
    ] as const
  t.match(open(chinese, ...push(chinese)), {
    message: { msgId: '23456789012345678', raw: { Content: '你好，世界', MsgId: '23456789012345678' } }
  })
  t.equal(rawOf(open({ ...foreign, appid: foreign.appidExpected }, ...push(foreign))), 'appid')
  t.match(open({ ...foreign, appid: foreign.appidInside }, ...push(foreign)), { message: { msgType: 'event' } })
})

t.test('sealReply() makes the official reply byte by byte', async (t) => {
  const { token, encodingAESKey: aesKey, appid, encryptedReply } = officialJson
  const { random, msg, timestamp: nowSeconds, nonce, body } = encryptedReply
  const reply = sealReply(msg, { token, aesKey, appid, nonce, nowSeconds, random: Buffer.from(random) })
  t.equal(JSON.stringify(reply), JSON.stringify(body))
})

const keys = { token: 'spamtest', aesKey: officialXmlSample.encodingAESKey, appid: 'wx2c2769f8efd9abc2' }
const other = new WXBizMsgCrypt(keys.token, keys.aesKey, keys.appid)

t.test('wechat-crypto opens what we encrypt, and we open what it encrypts, whatever the text', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
      const theirs = decryptPush(other.encrypt(text), keys.aesKey)
      const ours = other.decrypt(encryptPush(text, keys))
      const isSame = String(theirs?.message) === text && theirs?.appid === keys.appid
      return isSame && ours.message === text && ours.id === keys.appid
    }),
    { numRuns: 500 }
  )
})

t.test('wechat-crypto opens our reply and finds our signature right', async (t) => {
  const reply = sealReply('{"demo_resp":"good luck"}', { ...keys, nonce: '415670741', nowSeconds: 1713424427 })
  const { Encrypt: encrypted, MsgSignature: signature } = reply as Record<string, string>
  t.equal(other.getSignature('1713424427', '415670741', encrypted ?? ''), signature)
  t.same(other.decrypt(encrypted ?? ''), { message: '{"demo_resp":"good luck"}', id: keys.appid })
})

t.test('openPush() opens a push that wechat-crypto encrypts and signs', async (t) => {
  const encrypted = other.encrypt('<xml><MsgType>event</MsgType><Event>debug_demo</Event></xml>')
  const [timestamp, nonce] = ['1713424427', '415670741']
  const query = {
    timestamp,
    nonce,
    msg_signature: other.getSignature(timestamp, nonce, encrypted),
    encrypt_type: 'aes'
  }
  const opened = open({ ...keys, encodingAESKey: keys.aesKey }, query, `<xml><Encrypt>${encrypted}</Encrypt></xml>`)
  t.match(opened, { message: { msgType: 'event', event: 'debug_demo', createTime: '2024-04-18T07:13:47.000Z' } })
})

t.test('decryptPush() refuses what is no ciphertext of this scheme, and never throws', async (t) => {
  const good = encryptPush('x'.repeat(40), keys)
  const wrong = [
    '',
    'AAAA',
    good.slice(4),
    good.slice(0, -4),
    `${good}=`,
    ` ${good}`,
    good.replace(/.$/, '-'),
    `${good}\n`
  ]
  for (const text of wrong) t.equal(decryptPush(text, keys.aesKey), undefined, text)
  t.equal(decryptPush(good, 'B'.repeat(43)), undefined)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 256 }), (bytes) => {
      const opened = decryptPush(Buffer.from(bytes).toString('base64'), keys.aesKey)
      return opened === undefined || Buffer.isBuffer(opened.message)
    })
  )
})

t.test('decryptPush() refuses a length beyond the end, and padding that is none', async (t) => {
  const content = (length: number) =>
    Buffer.concat([Buffer.alloc(16), Buffer.from([0, 0, 0, length]), Buffer.from(`message${keys.appid}`)])
  const open = (length: number, padding?: Buffer) => decryptPush(encryptBytes(content(length), padding), AES_KEY)
  t.match(open(7), { message: Buffer.from('message'), appid: keys.appid })
  t.match(open(7, Buffer.alloc(19, 19)), { appid: keys.appid })
  t.match(open(25), { appid: '' })
  t.equal(open(26), undefined)
  t.equal(open(255), undefined)
  t.equal(open(7, Buffer.alloc(51, 51)), undefined, 'longer than a block')
  t.equal(open(7, Buffer.alloc(19)), undefined, 'of no length')
  t.equal(open(7, Buffer.concat([Buffer.alloc(18), Buffer.from([19])])), undefined, 'of differing bytes')
})
