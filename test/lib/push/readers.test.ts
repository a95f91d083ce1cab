/** The readers of pushes: what they take, what they refuse, and that no input makes them throw or dwell. */
import fc from 'fast-check'
import { XMLParser } from 'fast-xml-parser'
import t from 'tap'
import { parseJson } from '../../../lib/push/json.ts'
import { readFields, readMessage } from '../../../lib/push/message.ts'
import { parseNestedXml } from '../../../lib/push/xml.ts'
import { vectors } from '../../vectors.ts'

const hostile = vectors('pay-xml-hostile')

/** The fields with ordinary prototypes, or the word of the refusal. */
function read(xml: string | Buffer): unknown {
  const outcome = parseNestedXml(Buffer.from(xml))
  return outcome.status === 'parsed' ? JSON.parse(JSON.stringify(outcome.fields)) : outcome.reason
}

t.test('parseNestedXml() refuses every hostile vector but the harmless nesting, and reads the others', async (t) => {
  const seen: Record<string, number> = {}
  for (const { name, input, expected } of hostile.cases) {
    const body = input.body === undefined ? Buffer.from(input.bodyBase64, 'base64') : Buffer.from(input.body)
    const outcome = parseNestedXml(body)
    const word = outcome.status === 'parsed' ? 'parsed' : outcome.reason
    seen[word] = (seen[word] ?? 0) + 1
    if (expected.verdict === 'accept') t.same(read(body), hostile.fields, name)
  }
  t.same(seen, {
    parsed: 7, // six good ones, and an element in another
    doctype: 8,
    entity: 4,
    shape: 16,
    attribute: 1,
    duplicate: 1,
    name: 2,
    character: 1,
    encoding: 3,
    size: 1 // thousands of elements in each other
  })
})

t.test('parseNestedXml() makes objects of nested elements and lists of repeated ones', async (t) => {
  t.same(read('<xml><a><b>1</b></a></xml>'), { a: { b: '1' } })
  t.same(
    read('<xml>\n<Popup>\n <List><Id><![CDATA[x]]></Id><n>2</n></List>\r\n <List><Id>y</Id></List>\n</Popup></xml>'),
    { Popup: { List: [{ Id: 'x', n: '2' }, { Id: 'y' }] } }
  )
  t.same(read('<xml><detail><a>1</a></detail><t>x</t><detail><a>2</a></detail><detail><a>3</a></detail></xml>'), {
    detail: [{ a: '1' }, { a: '2' }, { a: '3' }],
    t: 'x'
  })
  t.same(read('<xml><a><b>1</b><b/><b>3</b></a></xml>'), { a: { b: ['1', '', '3'] } })
  t.same(read('<xml><a/><b></b><c><![CDATA[]]></c><d> <![CDATA[&lt;]]>&lt;\r</d></xml>'), {
    a: '',
    b: '',
    c: '',
    d: ' &lt;<\n'
  })
  t.same(read('<xml><xml><![CDATA[1]]></xml><toString>2</toString></xml>'), { xml: '1', toString: '2' })
  t.same(read('<xml></xml>'), {})
})

t.test('parseNestedXml() makes objects without a prototype', async (t) => {
  const outcome = parseNestedXml(Buffer.from('<xml><a><b>1</b></a></xml>'))
  if (outcome.status !== 'parsed') throw new Error(outcome.reason)
  t.equal(Object.getPrototypeOf(outcome.fields), null)
  t.equal(Object.getPrototypeOf(outcome.fields.a), null)
})

t.test('parseNestedXml() refuses what could be read in two ways, and what is too much', async (t) => {
  const deep = (depth: number) => `<xml>${'<a>'.repeat(depth)}${'</a>'.repeat(depth)}</xml>`
  const refusals: Record<string, string[]> = {
    duplicate: [
      '<xml><MsgId>1</MsgId><MsgId>2</MsgId></xml>',
      '<xml><a>1</a><a><b/></a></xml>',
      '<xml><a><b/></a><a/></xml>',
      '<xml><a><b/></a><a><b/></a><a>1</a></xml>'
    ],
    shape: [
      '<xml>text<a/></xml>',
      '<xml>text</xml>',
      '<xml><![CDATA[ ]]></xml>',
      '<xml><a>text<b/></a></xml>',
      '<xml><a><b/><![CDATA[text]]></a></xml>',
      '<xml><a><b></a></b></xml>',
      '<xml><a></xml>',
      '<xml><a><b></b></xml>',
      '<xml><a>',
      '<xml>',
      '<xml><a/></xml><xml></xml>',
      '<xml><a><![CDATA[x</a></xml>',
      '<xml/>',
      '{"a":1}',
      ''
    ],
    name: ['<xml><a><__proto__><b>1</b></__proto__></a></xml>', '<xml><constructor/></xml>'],
    size: [
      deep(9),
      `<xml>${'<a><b/></a>'.repeat(5462)}</xml>`,
      `<xml><a>${'&amp;'.repeat(16384)}</a></xml>`,
      `<xml><a>${'x'.repeat(1024 * 1024)}</a></xml>`
    ],
    attribute: ['<xml><a b="c"/></xml>'],
    doctype: ['<!DOCTYPE xml><xml></xml>', '<xml><a><!DOCTYPE b></a></xml>'],
    entity: ['<xml><a>&x;</a></xml>', '<xml><a><b>& </b></a></xml>']
  }
  for (const [reason, xmls] of Object.entries(refusals))
    for (const xml of xmls) t.equal(read(xml), reason, xml.slice(0, 60))
  t.type(read(deep(8)), 'object')
  t.type(read(`<xml>${'<a><b/></a>'.repeat(5461)}</xml>`), 'object')
})

// Were one of these worse than linear, it would take minutes, and the time-out of the runner would tell.
t.test('the readers get through the worst mebibyte of each kind', async (t) => {
  const fill = (unit: string) => unit.repeat(Math.floor((1024 * 1024 - 64) / unit.length))
  const xmls = ['<', '<a>', '<a/>', '<![CDATA[', '&amp;', '&', ']]>', '</', '\r', 'x<![CDATA[]]>'].map(
    (unit) => `<xml><a>${fill(unit)}`
  )
  for (const xml of xmls) t.equal(readFields(Buffer.from(xml)), undefined, xml.slice(0, 30))
  t.equal(readFields(Buffer.from(`<xml><a>${fill('x<![CDATA[]]>')}</a></xml>`)), undefined)
  t.ok(readFields(Buffer.from(`<xml><a><![CDATA[${fill('&\r')}]]></a></xml>`)))
  for (const unit of ['[', '{"a":', '"', '\\"', '"a', '\\', ' ', '1', ',', '[],'])
    t.equal(readFields(Buffer.from(`{"a":[${fill(unit)}`)), undefined, unit)
  t.equal(readFields(Buffer.from(`{"a":[${fill('{},')}{}]}`)), undefined)
  t.ok(readFields(Buffer.from(`{"a":"${fill('[,')}"}`)))
})

t.test('parseNestedXml() reads what another parser reads', async () => {
  const other = new XMLParser({ parseTagValue: false, trimValues: false, ignoreDeclaration: true })
  const tree = fc.letrec<{ object: object; value: unknown }>((tie) => ({
    object: fc.dictionary(fc.stringMatching(/^[A-Za-z]{1,6}$/), tie('value'), {
      minKeys: 1,
      maxKeys: 4,
      noNullPrototype: true
    }),
    value: fc.oneof(
      { maxDepth: 4 },
      fc.stringMatching(/^[a-z0-9 é中<&>\]]{1,12}$/).filter((text) => text.trim() !== ''),
      tie('object'),
      fc.array(tie('object'), { minLength: 2, maxLength: 3 })
    )
  })).object
  const write = (name: string, value: unknown): string => {
    if (Array.isArray(value)) return value.map((inner) => write(name, inner)).join('')
    return `<${name}>${typeof value === 'string' ? `<![CDATA[${value.replaceAll(']]>', ']]]]><![CDATA[>')}]]>` : inside(value as object)}</${name}>`
  }
  const inside = (value: object) =>
    Object.entries(value)
      .map(([name, inner]) => write(name, inner))
      .join('')
  fc.assert(
    fc.property(tree, (value) => {
      const xml = `<xml>${inside(value)}</xml>`
      return JSON.stringify(read(xml)) === JSON.stringify(other.parse(xml).xml)
    }),
    { numRuns: 500 }
  )
})

t.test('parseJson() keeps whole numbers beyond 2^53 as their text', async (t) => {
  const numbers = '{"a":9007199254740991,"b":9007199254740993,"c":-23456789012345678,"d":[1.5,{"e":1e400}],"f":1e2}'
  t.strictSame(parseJson(Buffer.from(numbers)), {
    a: 9007199254740991,
    b: '9007199254740993',
    c: '-23456789012345678',
    d: [1.5, { e: '1e400' }],
    f: 100
  })
})

t.test('parseJson() refuses what is no object, and what would hurt whoever reads it', async (t) => {
  const wrong = [
    '',
    '[]',
    'null',
    '"a"',
    '1',
    '{',
    '{"a":1}{',
    '\ufeff{}',
    '{"__proto__":{"a":1}}',
    '{"a":{"constructor":1}}'
  ]
  for (const text of wrong) t.equal(parseJson(Buffer.from(text)), undefined, text)
  t.equal(parseJson(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), undefined)
  const deep = (depth: number) => Buffer.from(`{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`)
  const long = (count: number) => Buffer.from(`{"a":[${'1,'.repeat(count - 2)}1]}`)
  t.ok(parseJson(long(4096)))
  t.equal(parseJson(long(4097)), undefined)
  t.ok(parseJson(deep(32)))
  t.equal(parseJson(deep(33)), undefined)
  t.ok(parseJson(Buffer.from(`{"a":"${'['.repeat(100)}\\"${'{'.repeat(100)}"}`)))
})

t.test('the readers never throw, whatever the bytes', async () => {
  const near = fc.string({ unit: fc.constantFrom(...'<>/xml[]{}",:!CDATA&;\\ a1') })
  const bytes = fc.oneof(
    fc.uint8Array(),
    near.map((text) => Buffer.from(`<xml>${text}</xml>`)),
    near.map((text) => Buffer.from(`{${text}}`))
  )
  fc.assert(
    fc.property(bytes, (some) => {
      const read = readFields(Buffer.from(some))
      return read === undefined || read.format === 'json' || read.format === 'xml'
    }),
    { numRuns: 3000 }
  )
})

const identityOf = (text: string) => readMessage(readFields(Buffer.from(text))?.fields ?? {}, 0)?.identity

t.test('readMessage() gives XML and JSON, numbers and their text, in any order, one identity', async (t) => {
  const identities = [
    '<xml><MsgType>event</MsgType><Event>e</Event><CreateTime>1</CreateTime><L><a>1</a></L></xml>',
    '{"MsgType":"event","Event":"e","CreateTime":1,"L":{"a":1}}',
    '{"CreateTime":"1","L":{"a":"1"},"Event":"e","MsgType":"event","RetryTimes":3}'
  ].map(identityOf)
  t.equal(new Set(identities).size, 1)
  t.match(identities[0], /^[0-9a-f]{32}$/)
})

t.test('readMessage() tells apart what differs in any field but the counter of tries', async (t) => {
  const event = {
    MsgType: 'event',
    Event: 'xpay_goods_deliver_notify',
    FromUserName: 'p',
    CreateTime: 1,
    OutTradeNo: 'a'
  }
  const of = (change: object) => identityOf(JSON.stringify({ ...event, ...change }))
  const changes = [{ FromUserName: 'q' }, { CreateTime: 2 }, { Event: 'xpay_coin_pay_notify' }, { OutTradeNo: 'b' }]
  t.equal(new Set([{}, ...changes].map(of)).size, 5)
  t.equal(of({ RetryTimes: 4, RequestId: 'r' }), of({}))
  t.not(of({ Event: 'e', RequestId: 'r' }), of({ Event: 'e' }))
  t.equal(of({ MsgId: '12345678901234567890' }), '12345678901234567890')
  for (const MsgId of ['0', '', 'a:b', '1'.repeat(21), -1, {}]) t.match(of({ MsgId }), /^[0-9a-f]{32}$/, String(MsgId))
})
