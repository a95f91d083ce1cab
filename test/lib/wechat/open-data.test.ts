/** openWithKeys(): all keys are tried and all plaintexts read, whichever way it fails. */
import { createCipheriv, randomBytes } from 'node:crypto'
import t from 'tap'
import { openWithKeys } from '../../../lib/wechat/open-data.ts'

const IV = Buffer.alloc(16, 3)

/** Blocks as they are: their padding is the test's own. */
function encrypt(key: Buffer, blocks: Buffer) {
  const cipher = createCipheriv('aes-128-cbc', key, IV).setAutoPadding(false)
  const encryptedData = Buffer.concat([cipher.update(blocks), cipher.final()]).toString('base64')
  return { encryptedData, iv: IV.toString('base64') }
}

const padded = (text: string, length = 16 - (text.length % 16)) =>
  Buffer.concat([Buffer.from(text), Buffer.alloc(length, length)])

const keys = [randomBytes(16), randomBytes(16), randomBytes(16)] as const

/** What came of it, and how many plaintexts were looked at. */
function open(data: { encryptedData: string; iv: string }) {
  let reads = 0
  const opened = openWithKeys(data, keys, (plaintext) => {
    reads += 1
    return plaintext.toString() === '{"a":1}' || undefined
  })
  return { position: opened?.position, reads }
}

t.test('openWithKeys() does the same work wherever it succeeds or fails', async (t) => {
  const good = padded('{"a":1}')
  for (const [position, key] of keys.entries()) t.same(open(encrypt(key, good)), { position, reads: 3 })
  const [key] = keys
  const failing: [name: string, data: ReturnType<typeof encrypt>][] = [
    ['a key that is not held', encrypt(randomBytes(16), good)],
    ['a plaintext that is none', encrypt(key, padded('{"a":2}'))],
    ['a block of padding alone', encrypt(key, Buffer.alloc(16, 16))],
    ['padding of no bytes', encrypt(key, Buffer.concat([Buffer.from('{"a":1}'), Buffer.alloc(9)]))],
    ['padding of one byte too many', encrypt(key, padded('{"a":1}\t\t\t\t\t\t\t\t', 1).fill(17, 15))],
    ['padding beyond the block', encrypt(key, Buffer.concat([good, Buffer.alloc(16, 32)]))],
    [
      'padding whose first byte is wrong',
      encrypt(key, Buffer.concat([Buffer.from('{"a":1}\x08'), Buffer.alloc(8, 9)]))
    ],
    [
      'padding that is zero bytes',
      encrypt(key, Buffer.concat([Buffer.from('{"a":1}'), Buffer.alloc(8), Buffer.of(9)]))
    ],
    ['a byte of padding that is cut', encrypt(key, Buffer.concat([Buffer.from('{"a":1}'), Buffer.alloc(9, 8)]))]
  ]
  for (const [name, data] of failing) t.same(open(data), { position: undefined, reads: 3 }, name)
})

t.test('openWithKeys() opens nothing with a key of another length', async (t) => {
  const [key] = keys
  const data = encrypt(key, padded('{"a":1}'))
  for (const other of [key.subarray(1), Buffer.concat([key, key]), Buffer.alloc(0)])
    t.equal(
      openWithKeys(data, [other], () => true),
      undefined
    )
})
