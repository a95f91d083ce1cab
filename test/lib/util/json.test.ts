/** readJsonObject(): standard JSON, WeChat's deviations from it, and what it refuses. */
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { isPlainObject, type JsonOptions, readJsonObject } from '../../../lib/util/json.ts'

/** What JSON.parse reads as well, and reads the same. */
const STANDARD = [
  '{}',
  ' \t\r\n{ "a" : 1 , "b" : [ ] } \r\n',
  '{"a":"","b":"x","":"empty name"}',
  '{"a":-1.5e-3,"b":0,"c":-0.25,"d":9007199254740991,"e":1E3,"f":1.0}',
  '{"a":true,"b":false,"c":null}',
  '{"a":[1,"2",[3,{"b":4}],{}],"c":{"d":{"e":[]}}}',
  '{"a":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u5fae\\ud83d\\ude00","b":"\\ud800"}',
  '{"a":"微信用户 😀 \u2028\u2029\ufeff"}',
  '{"a":1,"b":2,"a":3}',
  '{"\\u0061":1,"toString":2,"constructor":3,"hasOwnProperty":4}',
  '{"__proto__":{"admin":true},"a":{"__proto__":1}}'
] as const

/** What JSON.parse refuses or rounds, and what is made of it. */
const AS_WECHAT_WRITES: readonly [name: string, text: string | Buffer, read: object][] = [
  ['a control character', '{"a":"x\u001dy"}', { a: 'x\u001dy' }],
  ['every control character', `{"a":"${controls()}"}`, { a: controls() }],
  ['a NUL inside', '{"a":"x\0y"}', { a: 'x\0y' }],
  ['a line break', '{"a":"x\ny\r\n"}', { a: 'x\ny\r\n' }],
  ['one in a name', '{"a\u0001":1}', { 'a\u0001': 1 }],
  ['one beside escapes', '{"a":"\\n\u0001\\u0002"}', { a: '\n\u0001\u0002' }],
  ['half a character of UTF-8', bytes('{"a":"x', [0xe5, 0xbe], '"}'), { a: 'x\ufffd' }],
  ['a byte that is never UTF-8', bytes('{"a":"', [0xff], 'y"}'), { a: '\ufffdy' }],
  ['a surrogate as bytes', bytes('{"a":"', [0xed, 0xa0, 0x80], '"}'), { a: '\ufffd\ufffd\ufffd' }],
  ['a byte order mark', '\ufeff{"a":1}', { a: 1 }],
  ['a byte order mark as bytes', bytes('', [0xef, 0xbb, 0xbf], ' {"a":1}'), { a: 1 }],
  ['NULs at the end', '{"a":1}\0\0\0', { a: 1 }],
  ['NULs and line ends at the end', '{"a":1}\r\n\0\n\0', { a: 1 }],
  ['a backslash that begins nothing', '{"a":"\\d\\u12\\"","b":"\\x"}', { a: '\\d\\u12"', b: '\\x' }],
  ['a whole number beyond 2^53', '{"a":23456789012345678,"b":-9007199254740993}', numbers()],
  ['the first that is not exact', '{"a":9007199254740992}', { a: '9007199254740992' }],
  ['one deep inside', '{"a":[{"b":[12345678901234567890]}]}', { a: [{ b: ['12345678901234567890'] }] }],
  ['numbers no double holds', '{"a":1e999,"b":-1e400}', { a: '1e999', b: '-1e400' }],
  ['a large one with a fraction', '{"a":123456789012345678.5,"b":1e20}', { a: '123456789012345678.5', b: '1e20' }]
]

const NO_OBJECT: readonly (string | Buffer)[] = [
  '',
  '\0',
  '\ufeff',
  'null',
  '1',
  '"x"',
  '[]',
  '[{}]',
  '{',
  '{"a"',
  '{"a":',
  '{"a":1',
  '{"a":1,',
  '{"a":1,}',
  '{,}',
  '{"a":[1,]}',
  '{"a":[1',
  '{"a" 1}',
  '{a:1}',
  "{'a':1}",
  '{1:1}',
  '{"a":"x}',
  '{"a":"x\\"}',
  '{"a":01}',
  '{"a":+1}',
  '{"a":.5}',
  '{"a":1.}',
  '{"a":1e}',
  '{"a":0x1}',
  '{"a":NaN}',
  '{"a":tru}',
  '{"a":trueish}',
  '{"a":undefined}',
  '{"a":1}{"b":2}',
  '{"a":1}x',
  '{"a":1}\0x',
  '\0{"a":1}',
  '{\u0001"a":1}',
  '{"a":1 /* x */}',
  '<xml/>',
  Buffer.alloc(64, 0xff),
  Buffer.from('{"a":1}', 'utf16le')
]

function controls(): string {
  return Array.from({ length: 32 }, (_, code) => String.fromCharCode(code)).join('')
}

function bytes(before: string, middle: number[], after: string): Buffer {
  return Buffer.concat([Buffer.from(before), Buffer.from(middle), Buffer.from(after)])
}

function numbers() {
  return { a: '23456789012345678', b: '-9007199254740993' }
}

t.test('readJsonObject() reads the standard as JSON.parse does', async (t) => {
  for (const [index, text] of STANDARD.entries()) {
    t.ok(isDeepStrictEqual(readJsonObject(text), JSON.parse(text)), `text ${index}`)
    t.ok(isDeepStrictEqual(readJsonObject(Buffer.from(text)), JSON.parse(text)), `text ${index} as bytes`)
    t.equal(JSON.stringify(readJsonObject(text)), JSON.stringify(JSON.parse(text)))
  }
  t.equal(({} as { admin?: boolean }).admin, undefined, 'no prototype was touched')
})

t.test('readJsonObject() reads what WeChat writes beside the standard', async (t) => {
  for (const [name, text, read] of AS_WECHAT_WRITES) t.strictSame(readJsonObject(text), read, name)
})

t.test('readJsonObject() reads nothing else', async (t) => {
  for (const text of NO_OBJECT) t.equal(readJsonObject(text), undefined, JSON.stringify(String(text)))
})

t.test('readJsonObject() takes a repeated name as it is told', async (t) => {
  const text = '{"a":1,"b":{"c":[1],"c":[2],"c":3},"a":"x","__proto__":1,"__proto__":2}'
  const read = (repeated: NonNullable<JsonOptions['repeated']>) => readJsonObject(text, { repeated })
  t.strictSame(read('last'), JSON.parse(text))
  t.equal(JSON.stringify(read('list')), '{"a":[1,"x"],"b":{"c":[[1],[2],3]},"__proto__":[1,2]}')
  t.equal(read('refuse'), undefined)
  const twice = readJsonObject('{"a":"x","a":"x","b":[1],"b":[1],"c":1,"c":2,"c":1}', { repeated: 'list' })
  t.equal(JSON.stringify(twice), '{"a":"x","b":[[1],[1]],"c":[1,2,1]}', 'the same text twice is one')
  t.equal(readJsonObject('{"b":{"c":1,"\\u0063":1}}', { repeated: 'refuse' }), undefined, 'however it is spelt')
  t.strictSame(readJsonObject('{"b":1,"c":{"b":1}}', { repeated: 'refuse' }), { b: 1, c: { b: 1 } })
})

t.test('readJsonObject() leaves what is too deep or too much unread', async (t) => {
  const nested = (depth: number) => `{"a":${'['.repeat(depth - 1)}1${']'.repeat(depth - 1)}}`
  t.ok(readJsonObject(nested(64)))
  t.equal(readJsonObject(nested(65)), undefined)
  t.ok(readJsonObject(nested(3), { maxDepth: 3 }))
  t.equal(readJsonObject(nested(4), { maxDepth: 3 }), undefined)
  t.equal(readJsonObject(`{"a":${'['.repeat(500_000)}`), undefined, 'and does not run out of stack')
  t.equal(readJsonObject('{"a":'.repeat(200_000)), undefined)
  t.ok(readJsonObject('{"a":[1,2]}', { maxValues: 4 }))
  t.equal(readJsonObject('{"a":[1,2,3]}', { maxValues: 4 }), undefined)
  t.equal(readJsonObject(`{"a":[${'1,'.repeat(500_000)}1]}`), undefined)
})

t.test('isPlainObject() is true of objects with members alone', async (t) => {
  for (const value of [{}, { a: 1 }, Object.create(null)]) t.equal(isPlainObject(value), true)
  for (const value of [null, undefined, [], 'text', 1, true]) t.equal(isPlainObject(value), false, String(value))
})
