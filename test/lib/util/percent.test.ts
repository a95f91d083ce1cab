/** decodePercent(): what it decodes, and text that is not percent-encoded UTF-8. */
import t from 'tap'
import { decodePercent } from '../../../lib/util/percent.ts'

t.test('decodePercent() decodes once, and answers undefined for what is no UTF-8', async (t) => {
  const right = { '': '', 'a+b': 'a+b', '%2525': '%25', '%E4%BD%A0': '你' }
  for (const [text, decoded] of Object.entries(right)) t.equal(decodePercent(text), decoded, text)
  for (const text of ['%', '%2', '%zz', '100%', '%E4%BD', '%ff']) t.equal(decodePercent(text), undefined, text)
})
