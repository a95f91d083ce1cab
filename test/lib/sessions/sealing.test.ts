/**
 * Sealed and signed values outside of the process (session_keys, refresh tokens and others) open only unchanged, at
 * their place, with their key.
 */
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { Sealer } from '../../../lib/crypto/seal.ts'
import {
  decodeSessionKey,
  packSessionKey,
  unpackNewestKey,
  unpackSessionKeys
} from '../../../lib/sessions/key-history.ts'
import { readRefreshToken, writeRefreshToken } from '../../../lib/sessions/refresh-tokens.ts'

const key = (id: string) => ({ id, key: randomBytes(32) })
const [first, second] = [key('first'), key('s')]
const sealer = new Sealer([first, second])
const claims = {
  appid: 'wx0123456789abcdef',
  openid: 'oUser_-1',
  sid: 's'.repeat(22),
  generation: 7,
  expiresAt: 1_800_000_000
}

t.test('seal() and open() are a round trip for any bytes and place, and never give the same twice', async () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.string(), (bytes, place) => {
      const plaintext = Buffer.from(bytes)
      const sealed = sealer.seal(plaintext, place)
      return sealer.open(sealed, place)?.equals(plaintext) === true && !sealed.equals(sealer.seal(plaintext, place))
    })
  )
})

t.test('open() refuses every changed byte, every cut, other places and other keys', async (t) => {
  const sealed = sealer.seal(Buffer.from('session_key 16 b'), 'here')
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = Buffer.from(sealed)
    changed[at] = (changed[at] ?? 0) ^ 1
    t.equal(sealer.open(changed, 'here'), undefined, `byte ${at}`)
    t.equal(sealer.open(sealed.subarray(0, at), 'here'), undefined, `${at} bytes`)
  }
  t.equal(sealer.open(sealed, 'there'), undefined)
  t.equal(new Sealer([second]).open(sealed, 'here'), undefined, 'id unknown')
  t.equal(new Sealer([{ ...first, key: randomBytes(32) }]).open(sealed, 'here'), undefined, 'other key of that id')
  t.equal(new Sealer([second, first]).open(sealed, 'here')?.toString(), 'session_key 16 b', 'in any position')
  t.throws(() => new Sealer([]), RangeError)
})

t.test('open() never throws, whatever bytes it meets', async () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => sealer.open(Buffer.from(bytes), 'here') === undefined))
})

t.test('a refresh token is read back by whoever holds its key', async (t) => {
  const token = writeRefreshToken(claims, sealer)
  t.same(readRefreshToken(token, sealer), claims)
  t.same(readRefreshToken(token, new Sealer([second, first])), claims)
  t.equal(readRefreshToken(token, new Sealer([second])), undefined)
  t.equal(readRefreshToken(token, new Sealer([key('first')])), undefined)
})

t.test('a refresh token changed in any letter, or longer, is none', async (t) => {
  const token = writeRefreshToken(claims, sealer)
  for (let at = 0; at < token.length; at += 1) {
    const letter = token[at] === 'A' ? 'B' : 'A'
    for (const other of [letter, '!']) {
      const changed = token.slice(0, at) + other + token.slice(at + 1)
      t.equal(readRefreshToken(changed, sealer), undefined, `${other} at ${at}`)
    }
    t.equal(readRefreshToken(token.slice(0, at), sealer), undefined, `${at} letters`)
  }
  for (const more of [`${token}.`, `${token}.x`, `${token}=`, `${token} `, ` ${token}`, `${token}!`])
    t.equal(readRefreshToken(more, sealer), undefined, more.slice(-5))
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => readRefreshToken(text, sealer) === undefined))
})

t.test('decodeSessionKey() takes the base64 of 16 bytes, as WeChat writes it', async (t) => {
  t.equal(decodeSessionKey('tiihtNczf5v6AKRyjwEUhQ==')?.length, 16)
  const wrong = [
    '',
    'tiihtNczf5v6AKRyjwEUhQ',
    'tiihtNczf5v6AKRyjwEUhR==',
    ' tiihtNczf5v6AKRyjwEUhQ==',
    randomBytes(32).toString('base64')
  ]
  for (const text of wrong) t.equal(decodeSessionKey(text), undefined, text)
})

t.test('unpackSessionKeys() gives what still holds and opens, and survives what is broken', async (t) => {
  const [one, two] = [randomBytes(16), randomBytes(16)]
  const history = Buffer.concat([packSessionKey(one, 100, 'here', sealer), packSessionKey(two, 200, 'here', sealer)])
  t.same(unpackSessionKeys(history, 99, 'here', sealer), [one, two])
  t.same(unpackSessionKeys(history, 100, 'here', sealer), [two])
  t.same(unpackSessionKeys(history, 200, 'here', sealer), [])
  t.same(unpackSessionKeys(history, 0, 'there', sealer), [])
  for (let length = 0; length < history.length; length += 1)
    t.ok(unpackSessionKeys(history.subarray(0, length), 0, 'here', sealer).length <= 1, `${length} bytes`)
})

t.test('unpackNewestKey() gives the first key or none, and never an older one instead', async (t) => {
  const [one, two] = [randomBytes(16), randomBytes(16)]
  const history = Buffer.concat([packSessionKey(one, 100, 'here', sealer), packSessionKey(two, 200, 'here', sealer)])
  t.same(unpackNewestKey(history, 99, 'here', sealer), one)
  t.equal(unpackNewestKey(history, 100, 'here', sealer), undefined, 'it has run out')
  t.equal(unpackNewestKey(history, 0, 'there', sealer), undefined)
  t.equal(unpackNewestKey(history, 0, 'here', new Sealer([second])), undefined, 'its encryption key is not held')
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => unpackNewestKey(Buffer.from(bytes), 0, 'here', sealer) === undefined)
  )
})
