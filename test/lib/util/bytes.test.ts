/** Nonces, hashes as names, every form in which base64 arrives, and texts that are not base64. */
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { contentHash, decodeBase64, decodeCanonicalBase64, makeNonce } from '../../../lib/util/bytes.ts'

/** With every letter that has two spellings. */
const BYTES = Buffer.concat([Buffer.from('fbf0fffefbefbeff', 'hex'), randomBytes(24)])
const PLAIN = BYTES.toString('base64')

t.test('decodeBase64() reads base64 however it was carried', async (t) => {
  const spellings: [name: string, text: string][] = [
    ['as it is', PLAIN],
    ['without padding', PLAIN.replaceAll('=', '')],
    ['base64url', BYTES.toString('base64url')],
    ['base64url with padding', PLAIN.replaceAll('+', '-').replaceAll('/', '_')],
    ['spaces for +', PLAIN.replaceAll('+', ' ')],
    ['percent-encoded', encodeURIComponent(PLAIN)],
    ['percent-encoded in lower case', encodeURIComponent(PLAIN).replaceAll(/%../g, (code) => code.toLowerCase())],
    ['percent-encoded padding alone', PLAIN.replaceAll('=', '%3D')],
    ['line breaks', PLAIN.replaceAll(/.{8}/g, '$&\n')],
    ['line breaks of Windows', PLAIN.replaceAll(/.{8}/g, '$&\r\n')],
    ['percent-encoded line breaks', PLAIN.replaceAll(/.{8}/g, '$&%0A')],
    ['a space behind the padding', `${PLAIN} `]
  ]
  t.match(PLAIN, /\+.*\/.*=$/)
  for (const [name, text] of spellings) t.same(decodeBase64(text), BYTES, name)
  for (let length = 0; length < 8; length++) {
    const bytes = Buffer.alloc(length, 0xff)
    t.same(decodeBase64(bytes.toString('base64')), bytes)
    t.same(decodeBase64(bytes.toString('base64url')), bytes)
  }
})

t.test('decodeBase64() refuses what is none', async (t) => {
  const wrong = [
    'A',
    'AB',
    'AAAAA',
    'AA=A',
    '=',
    '====',
    'A===',
    'AAA$',
    'AA.A',
    '%',
    '%4',
    '%ZZ',
    '%FF',
    'ÄÄÄÄ',
    'AAAA\0'
  ]
  for (const text of wrong) {
    const bytes = decodeBase64(text)
    t.ok(bytes === undefined || bytes.length === 0, text)
  }
  const hostile = `${'= '.repeat(30_000)}A`
  const startedAt = performance.now()
  t.equal(decodeBase64(hostile), undefined)
  t.ok(performance.now() - startedAt < 1000, 'at once')
})

t.test('decodeCanonicalBase64() takes the one canonical form alone', async (t) => {
  t.same(decodeCanonicalBase64('AP8='), Buffer.from([0, 255]))
  for (const text of ['AP8', 'AP9=', 'AP8=\n', ' AP8=', 'A_8=', 'AP8%3D'])
    t.equal(decodeCanonicalBase64(text), undefined, text)
})

t.test('makeNonce() gives 32 hex digits, each time others', async (t) => {
  t.match(makeNonce(), /^[0-9a-f]{32}$/)
  t.not(makeNonce(), makeNonce())
})

t.test('contentHash() gives half of the SHA-256, of text and bytes alike', async (t) => {
  t.equal(contentHash('abc'), 'ba7816bf8f01cfea414140de5dae2223')
  t.equal(contentHash(Buffer.from('abc')), contentHash('abc'))
})
