/** The readers of pushes: what they accept and what they refuse. No input makes them throw or run long. */
import fc from 'fast-check'
import t from 'tap'
import { readFields, readMessage } from '../../../lib/push/message.ts'
import { parseNestedXml } from '../../../lib/xml/read.ts'
import { vectors } from '../../vectors.ts'

interface Hostile {
  name: string
  input: { body?: string; bodyBase64?: string }
  expected: { verdict: string }
}
const hostile = vectors<{ fields: Record<string, string>; cases: Hostile[] }>('pay-xml-hostile')

/** The fields, or why there are none. */
function read(body: string | Buffer): unknown {
  const outcome = readFields(Buffer.from(body))
  return outcome.status === 'read' ? outcome.fields : outcome.reason
}

t.test('readFields() refuses DOCTYPE and entities of hostile vectors, and reads what has one meaning', async (t) => {
  const words = hostile.cases.map(({ name, input, expected }) => {
    const body = input.body === undefined ? Buffer.from(input.bodyBase64 ?? '', 'base64') : Buffer.from(input.body)
    const outcome = readFields(body)
    if (expected.verdict === 'accept') t.same(read(body), hostile.fields, name)
    return [name, outcome.status === 'read' ? 'read' : outcome.reason] as const
  })
  const named = (word: string) => words.filter(([, other]) => other === word).map(([name]) => name)
  t.equal(named('doctype').length, 8)
  t.same(named('entity'), ['undeclared entity'])
  t.same(named('size'), ['100 000 nested elements'])
  t.same(named('shape'), [
    'other root',
    'two roots',
    'text after the root',
    'not closed',
    'wrong closing order',
    'CDATA not closed',
    'UTF-16',
    'empty',
    'only spaces',
    'form',
    'HTML'
  ])
  // A signed push is recorded whatever characters it holds. Repeated elements become lists.
  t.same(named('read').slice(6), [
    'character reference to a control character',
    'character reference beyond Unicode',
    'bare ampersand',
    'processing instruction inside',
    'attribute on an element',
    'namespace prefix',
    'xi:include',
    'element twice',
    'nested element',
    'text between elements',
    'element named __proto__',
    'element named constructor',
    'stray ]]>',
    'NUL byte',
    'not UTF-8',
    'declared GBK',
    'JSON'
  ])
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

t.test('parseNestedXml() passes over processing instructions and comments, whatever stands in them', async (t) => {
  for (const other of ["<?it's?>", '<?a "?>', '<?php echo \'hi" ?>', '<!-- "\'<b> -->', '<?<b>?>']) {
    const xml = `${other}<xml>${other}<a>${other}1</a>${other}<b>2</b></xml>${other}`
    t.same(read(xml), { a: '1', b: '2' }, other)
  }
})

t.test('parseNestedXml() takes ampersands and < that begin nothing as text', async (t) => {
  const texts: Record<string, string> = {
    '&': '&',
    'AT&T & Co &': 'AT&T & Co &',
    'http://a/?b=1&c=2&d': 'http://a/?b=1&c=2&d',
    '&&amp;&amp;amp;&lt;&': '&&&amp;<&',
    '&;&amp &1;&#;&#x;&#xg;&#1a;&# 65;& amp;': '&;&amp &1;&#;&#x;&#xg;&#1a;&# 65;& amp;',
    '&AMP': '&AMP',
    '1 < 2': '1 < 2',
    '<3 <-- <= <> << <[ <. <"\' <\t<': '<3 <-- <= <> << <[ <. <"\' <\t<',
    '<&lt;&<': '<<&<'
  }
  for (const [text, value] of Object.entries(texts)) {
    t.same(read(`<xml><a>${text}</a><b c="${text.replace(/[<"]/g, '')}">1</b></xml>`), { a: value, b: '1' }, text)
    t.same(read(`<xml>${text}<a/></xml>`), { a: '', '#text': value }, `${text}, beside an element`)
  }
  t.same(read('<xml><a>&<![CDATA[amp;]]>&<!-- -->lt;<<b>1</b></a></xml>'), { a: { b: '1', '#text': '&amp;&lt;<' } })
})

t.test('parseNestedXml() makes objects without a prototype', async (t) => {
  const outcome = parseNestedXml('<xml><a><b>1</b></a></xml>')
  if (outcome.status !== 'parsed') throw new Error(outcome.reason)
  t.equal(Object.getPrototypeOf(outcome.fields), null)
  t.equal(Object.getPrototypeOf(outcome.fields.a), null)
})

t.test('parseNestedXml() refuses what is no message, and what is too much', async (t) => {
  const deep = (depth: number) => `<xml>${'<a>'.repeat(depth)}${'</a>'.repeat(depth)}</xml>`
  const refusals: Record<string, string[]> = {
    shape: [
      '<xml><a><b></a></b></xml>',
      '<xml><a></xml>',
      '<xml><a><b></b></xml>',
      '<xml><a>',
      '<xml>',
      '<xml><a/></xml><xml></xml>',
      '<xml><a/></xml>x',
      '<xml><a><![CDATA[x</a></xml>',
      '<xml><a><!-- x</a></xml>',
      '<xml><a><?x</a></xml>',
      '<xml><a b></a></xml>',
      '<xml><a b=c></a></xml>',
      '<xml><a b="c></a></xml>',
      '<xml><></></xml>',
      '<xml><a>1 < 2',
      '<xml><a><',
      '<xml>< a></a></xml>',
      '<xml><a>x</ a></xml>',
      '<xml></xml>< xml></xml>',
      '<xml></xml>&',
      '<xml/>',
      '<!-- x',
      '{"a":1}',
      ''
    ],
    size: [
      deep(9),
      `<xml>${'<a><b/></a>'.repeat(5462)}</xml>`,
      `<xml><a>${'&amp;'.repeat(16384)}</a></xml>`,
      `<xml><a>${'x'.repeat(1024 * 1024)}</a></xml>`
    ],
    doctype: [
      '<!DOCTYPE xml><xml></xml>',
      '<?xml version="1.0"?><!-- x --><!doctype xml><xml></xml>',
      '<xml><a><!DOCTYPE b></a></xml>',
      '<xml><!ENTITY b "c"></xml>',
      '<xml></xml><!DOCTYPE xml>',
      '<xml></xml>\n<!-- x --><!entity b "c">'
    ],
    entity: ['<xml><a>&x;</a></xml>', '<xml><a b="&x;"/></xml>', '<xml><a>&nbsp;</a></xml>', '<xml><a>& &中;</a></xml>']
  }
  for (const [reason, xmls] of Object.entries(refusals))
    for (const xml of xmls) t.match(parseNestedXml(xml), { status: 'refused', reason }, xml.slice(0, 60))
  t.type(read(deep(8)), 'object')
  t.type(read(`<xml>${'<a><b/></a>'.repeat(5461)}</xml>`), 'object')
})

// If the time of one of these grew faster than its size, it would take minutes, and the runner's time-out would end it.
t.test('the readers get through the worst mebibyte of each kind', async (t) => {
  const fill = (unit: string) => unit.repeat(Math.floor((1024 * 1024 - 64) / unit.length))
  const units = [
    '<',
    '< ',
    '<<&',
    '<a>',
    '<a/>',
    '<![CDATA[',
    '&amp;',
    '&',
    '&#1',
    '&a',
    ']]>',
    '</',
    '\r',
    'x<![CDATA[]]>'
  ]
  const tags = ['<!-- ', '<?', '<a ', '<a b="', '<a b=" ', '<a b="c" ', '<a b', '中', '\0']
  const xmls = [...units, ...tags].map((unit) => `<xml><a>${fill(unit)}`)
  for (const xml of xmls) t.type(read(xml), 'string', xml.slice(0, 30))
  t.equal(read(`<xml><a>${fill('x<![CDATA[]]>')}</a></xml>`), 'size')
  t.type(read(`<xml><a><![CDATA[${fill('&\r')}]]></a></xml>`), 'object')
  for (const unit of ['[', '{"a":', '"', '\\"', '"a', '\\', ' ', '1', ',', '[],'])
    t.equal(read(`{"a":[${fill(unit)}`), 'shape', unit)
  t.equal(read(`{"a":[${fill('{},')}{}]}`), 'shape')
  t.type(read(`{"a":"${fill('[,')}"}`), 'object')
})

t.test('parseNestedXml() reads what was written', async () => {
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
    const isText = typeof value === 'string'
    const content = isText ? `<![CDATA[${value.replaceAll(']]>', ']]]]><![CDATA[>')}]]>` : inside(value as object)
    return `<${name}>${content}</${name}>`
  }
  const inside = (value: object) =>
    Object.entries(value)
      .map(([name, inner]) => write(name, inner))
      .join('')
  fc.assert(
    fc.property(tree, (value) => JSON.stringify(read(`<xml>${inside(value)}</xml>`)) === JSON.stringify(value)),
    { numRuns: 500 }
  )
})

t.test('readFields() keeps whole numbers of JSON beyond 2^53 as their text', async (t) => {
  const numbers = '{"a":9007199254740991,"b":9007199254740993,"c":-23456789012345678,"d":[1.5,{"e":1e400}],"f":1e2}'
  t.strictSame(read(numbers), {
    a: 9007199254740991,
    b: '9007199254740993',
    c: '-23456789012345678',
    d: [1.5, { e: '1e400' }],
    f: 100
  })
})

t.test('readFields() reads no JSON but objects, nothing too deep or too much, and no name that hurts', async (t) => {
  for (const text of ['', '[]', 'null', '"a"', '1', '{', '{"a":1}{', '{"a":1,}', '{"a":NaN}', "{'a':1}", '{"a":1}x'])
    t.equal(read(text), 'shape', text)
  const deep = (depth: number) => `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`
  const long = (count: number) => `{"a":[${'1,'.repeat(count - 3)}1]}`
  t.type(read(long(4096)), 'object')
  t.equal(read(long(4097)), 'shape')
  t.type(read(deep(32)), 'object')
  t.equal(read(deep(33)), 'shape')
  t.type(read(`{"a":"${'['.repeat(100)}\\"${'{'.repeat(100)}"}`), 'object')
  t.strictSame(read('{"__proto__":{"a":1},"b":{"constructor":1}}'), {
    '\ufffd__proto__': { a: 1 },
    b: { '\ufffdconstructor': 1 }
  })
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
      const outcome = readFields(Buffer.from(some))
      return outcome.status === 'unreadable' || outcome.format === 'json' || outcome.format === 'xml'
    }),
    { numRuns: 3000 }
  )
})

function messageOf(text: string) {
  const outcome = readFields(Buffer.from(text))
  return outcome.status === 'read' ? readMessage(outcome, 0) : undefined
}

const identityOf = (text: string) => messageOf(text)?.contentHash

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
  const idOf = (MsgId: unknown) => messageOf(JSON.stringify({ ...event, MsgId }))?.msgId
  t.equal(idOf('12345678901234567890'), '12345678901234567890')
  for (const MsgId of ['0', '', 'a:b', '1'.repeat(21), -1, {}, ['1'], ['1', '1'], null])
    t.equal(idOf(MsgId), undefined, JSON.stringify(MsgId))
})
