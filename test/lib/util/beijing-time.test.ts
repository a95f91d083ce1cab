/** The times of WeChat: both APIs' spellings, there and back, and what is no date. */
import fc from 'fast-check'
import t from 'tap'
import { fromRfc3339 } from '../../../lib/pay/v3/fields.ts'
import {
  beijingDate,
  fromBeijingDateTime,
  fromBeijingTime,
  toBeijingRfc3339,
  toBeijingTime
} from '../../../lib/util/beijing-time.ts'

t.test('toBeijingTime() and fromBeijingTime() are each other undone', async (t) => {
  t.equal(toBeijingTime('2025-01-01T00:30:00Z'), '20250101083000')
  t.equal(toBeijingTime('2024-12-31T16:00:00.999+00:00'), '20250101000000')
  t.equal(toBeijingTime('2025-01-01T08:30+08:00'), '20250101083000')
  t.equal(fromBeijingTime('20240229235959'), '2024-02-29T15:59:59.000Z')
  for (const text of ['20250229000000', '20250101006000', '00000000000000', '2025010100000٠', ''])
    t.equal(fromBeijingTime(text), undefined, text)
  for (const iso of ['', 'now', '2025-01-01', '2025-01-01T00:00:00', '2025-13-01T00:00:00Z'])
    t.throws(() => toBeijingTime(iso), RangeError, iso)
  const instant = fc.date({ min: new Date('1990-01-01'), max: new Date('2199-12-31'), noInvalidDate: true })
  fc.assert(
    fc.property(instant, (date) => {
      date.setUTCMilliseconds(0)
      return fromBeijingTime(toBeijingTime(date.toISOString())) === date.toISOString()
    })
  )
})

t.test('fromBeijingDateTime() takes one spelling, of real dates', async (t) => {
  t.equal(fromBeijingDateTime('2025-01-01 07:59:59'), '2024-12-31T23:59:59.000Z')
  for (const text of ['20250101075959', '2025-01-01T07:59:59', '2025-02-29 00:00:00', '2025-01-01 24:00:00', ''])
    t.equal(fromBeijingDateTime(text), undefined, text)
})

t.test('fromRfc3339() reads RFC 3339, and nothing that is no date', async (t) => {
  t.equal(fromRfc3339('2018-06-08T10:34:56+08:00'), '2018-06-08T02:34:56.000Z')
  t.equal(fromRfc3339('2024-02-29T23:59:59.123456-01:00'), '2024-03-01T00:59:59.123Z')
  t.equal(fromRfc3339('2025-01-01T00:00:00Z'), '2025-01-01T00:00:00.000Z')
  const none = ['', 'now', '2025-01-01', '2025-01-01T00:00:00', '2025-01-01T00:00+08:00', '20250101T000000Z']
  const moved = ['2025-02-29T00:00:00Z', '2025-02-30T00:00:00+08:00', '2025-01-01T24:00:00Z', '2025-13-01T00:00:00Z']
  const zones = [
    '2025-01-01T00:00:00+24:00',
    '2025-01-01T00:00:00+0800',
    '2025-01-01T00:00:00 +08:00',
    '2025-01-01 00:00:00Z'
  ]
  for (const text of [...none, ...moved, ...zones, '2025-01-01T00:00:60Z', '2025-01-01T00:00:00Z\n'])
    t.equal(fromRfc3339(text), undefined, text)
})

t.test('toBeijingRfc3339() and beijingDate() write the time of Beijing', async (t) => {
  t.equal(toBeijingRfc3339('2024-12-31T16:00:00.999Z'), '2025-01-01T00:00:00+08:00')
  t.equal(toBeijingRfc3339('2025-01-01T08:30+08:00'), '2025-01-01T08:30:00+08:00')
  t.throws(() => toBeijingRfc3339('now'), RangeError)
  t.equal(beijingDate(Date.parse('2024-12-31T15:59:59Z')), '2024-12-31')
  t.equal(beijingDate(Date.parse('2024-12-31T16:00:00Z')), '2025-01-01')
})
