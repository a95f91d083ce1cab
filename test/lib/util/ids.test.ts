/** Nonces and hashes as names. */
import t from 'tap'
import { contentHash, makeNonce } from '../../../lib/util/ids.ts'

t.test('makeNonce() gives 32 hex digits, each time others', async (t) => {
  t.match(makeNonce(), /^[0-9a-f]{32}$/)
  t.not(makeNonce(), makeNonce())
})

t.test('contentHash() gives half of the SHA-256, of text and bytes alike', async (t) => {
  t.equal(contentHash('abc'), 'ba7816bf8f01cfea414140de5dae2223')
  t.equal(contentHash(Buffer.from('abc')), contentHash('abc'))
})
