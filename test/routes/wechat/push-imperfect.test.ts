/** Rightly signed pushes that are not perfect XML or JSON: each is an event or waits in quarantine, in every mode. */
import { once } from 'node:events'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { settled } from '../../../lib/redis/connect.ts'
import { startRedis } from '../../../tools/redis.ts'
import { API_KEY, APPID, build, type Environment } from '../../helper.ts'
import { faceOf } from './faces.ts'
import {
  AES_KEY,
  answers,
  encrypt,
  eventMessage,
  eventsIn,
  GH,
  nowSeconds,
  OPENID,
  PLAIN,
  plainPush,
  type Query,
  SAFE,
  sealed,
  send,
  succeeds,
  TEXT,
  TOKEN,
  textMessage,
  xml
} from './pushes.ts'

const REFUSED = 'refused'
const BAD = '\ufffd'
type Format = 'xml' | 'json'
type Bytes = string | Buffer

/** Text and bytes in one body; text as UTF-8. */
const bytes = (...parts: (string | number[])[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))))

interface Sent {
  query: Query
  body: Buffer
}

const END: Record<Format, string> = { xml: '</xml>', json: '}' }

const NO_OBJECT = /^\[|x$/

/** Encrypt behind the other fields, as in compatible mode; behind all of it where that is no object and no element. */
function beside(message: Buffer, format: Format): Sent {
  const encrypted = encrypt(message)
  const field =
    format === 'xml'
      ? `<Encrypt><![CDATA[${encrypted}]]></Encrypt>`
      : `,"Encrypt":"${encrypted.replaceAll('/', '\\/')}"`
  const found = NO_OBJECT.test(String(message)) ? -1 : message.lastIndexOf(END[format])
  const at = found === -1 ? message.length : found
  const rest = found === -1 ? Buffer.from(END[format]) : message.subarray(at)
  const body = Buffer.concat([message.subarray(0, at), Buffer.from(field), rest])
  return { query: sealed(encrypted, {}, format).query, body }
}

type Mode = 'plain' | 'compatible without a key' | 'compatible' | 'safe'
const MODES: readonly Mode[] = ['plain', 'compatible without a key', 'compatible', 'safe']

/** In safe mode, at another time. */
function sealedAt(message: Buffer, at: { timestamp: number }): { query: Query; body: string } {
  return sealed(encrypt(message), at, 'json')
}

function pack(mode: Mode, message: Buffer, format: Format): Sent {
  if (mode === 'plain') return { query: plainPush('').query, body: message }
  if (mode !== 'safe') return beside(message, format)
  const { query, body } = sealed(encrypt(message), {}, format)
  return { query, body: Buffer.from(body) }
}

const envOf = (mode: Mode): Environment => (mode === 'compatible' || mode === 'safe' ? SAFE : PLAIN)

const quarantined = async (app: FastifyInstance) => (await app.callbacks.quarantine.list({ limit: 100 })).items

const text = (content: Bytes, id: string, more: Bytes = ''): Buffer =>
  bytes(
    `<xml><ToUserName><![CDATA[${GH}]]></ToUserName><FromUserName><![CDATA[${OPENID}]]></FromUserName>`,
    `<CreateTime>1714112445</CreateTime><MsgType><![CDATA[text]]></MsgType>`,
    ...[content, more].map((part) => [...Buffer.from(part)]),
    `<MsgId>${id}</MsgId></xml>`
  )

const inCdata = (content: Bytes): Buffer => bytes('<Content><![CDATA[', [...Buffer.from(content)], ']]></Content>')

const object = (members: Bytes, id: string): Buffer =>
  bytes(
    `{"ToUserName":"${GH}","FromUserName":"${OPENID}","CreateTime":1714112445,"MsgType":"text",`,
    [...Buffer.from(members)],
    `,"MsgId":${id}}`
  )

const inQuotes = (content: Bytes): Buffer => bytes('"Content":"', [...Buffer.from(content)], '"')

interface Row {
  name: string
  format: Format
  message(id: string): Buffer
  /** Of `raw`. */
  expected: Record<string, unknown> | ((id: string) => Record<string, unknown>)
}

const ofXml = (name: string, content: Bytes, expected: Row['expected']): Row => ({
  name: `XML: ${name}`,
  format: 'xml',
  message: (id) => text(content, id),
  expected
})

const ofJson = (name: string, members: Bytes, expected: Row['expected']): Row => ({
  name: `JSON: ${name}`,
  format: 'json',
  message: (id) => object(members, id),
  expected
})

/** In both formats, as users type it. `read`: where XML reads it differently. */
const typed = (name: string, content: Bytes, expected: string, read = expected): Row[] => [
  ofXml(name, inCdata(content), { Content: read }),
  ofJson(name, inQuotes(content), { Content: expected })
]

const CONTROLS = Array.from({ length: 0x20 }, (_, code) => String.fromCharCode(code))
const whole = (message: (id: string) => Buffer, name: string, format: Format, expected: Row['expected']): Row => ({
  name,
  format,
  message,
  expected
})

const RECORDED: Row[] = [
  ...typed('the input that others saw in production', ' \x1dc', ` ${BAD}c`),
  ...CONTROLS.flatMap((control) => {
    const kept = '\t\n\r'.includes(control) ? control : BAD
    return typed(
      `U+${control.charCodeAt(0).toString(16)}`,
      `a${control}b`,
      `a${kept}b`,
      `a${kept.replace('\r', '\n')}b`
    )
  }),
  ...typed('what XML can carry stays', '\x7f\x85\u2028\ufffd 😀 你好', '\x7f\x85\u2028\ufffd 😀 你好'),
  ...typed('characters that are none', '\ufffe\uffff', BAD + BAD),
  ...typed('a byte that is no UTF-8', bytes('a', [0xff], 'b'), `a${BAD}b`),
  ...typed('a text cut in the middle of a character', bytes('a', [0xe4, 0xbd]), `a${BAD}`),
  ...typed('half of an emoji', bytes([0xed, 0xa0, 0xbd], 'b'), `${BAD}${BAD}${BAD}b`),
  ...typed('GBK', bytes([0xc4, 0xe3, 0xba, 0xc3]), BAD.repeat(3)),
  ...typed('an overlong slash', bytes([0xc0, 0xaf]), BAD + BAD),
  ...typed('nothing', '', ''),
  ...typed('markup in it', '<b>&amp;&nbsp;<!DOCTYPE a>{}[],', '<b>&amp;&nbsp;<!DOCTYPE a>{}[],'),

  ofXml('a typed end of CDATA', inCdata('a]]>b'), { Content: 'ab]]>' }),
  ofXml('text, CDATA and text', '<Content> a<![CDATA[&]]>&amp;<![CDATA[]]>c </Content>', { Content: ' a&&c ' }),
  ofXml('no CDATA', '<Content>5 &gt; 4 &#x4f60;&#22909;</Content>', { Content: '5 > 4 你好' }),
  ...Object.entries({
    'a bare ampersand': 'AT&T & Co',
    'an ampersand at the end': 'AT&',
    'ampersands of an address': 'http://a/?b=1&c=2&d',
    'ampersands beside references': '& &amp; &&lt;',
    'beginnings of references': '&amp &; &#; &#x; &#x1g; &1; & amp;',
    'less than': '1 < 2 <3 a<=b <- <> << <',
    'both in one': '<&< &<&'
  }).map(([name, typedText]) => {
    const decoded = typedText.replace('&amp; &&lt;', '& &<')
    return ofXml(name, `<Content>${typedText}</Content>`, { Content: decoded })
  }),
  ofXml('a bare ampersand of each kind of element', '<PicUrl>http://a/?b=1&c=2</PicUrl><a b="c&d"><e>f&g</e>h&i</a>', {
    PicUrl: 'http://a/?b=1&c=2',
    a: { e: 'f&g', '#text': 'h&i' }
  }),
  ofXml('references to no characters', '<Content>&#1;&#x1D;&#0;&#xD800;&#xffff;&#x110000;</Content>', {
    Content: BAD.repeat(6)
  }),
  ofXml('an element twice', '<Content>a</Content><Content>b</Content><Content/>', { Content: ['a', 'b', ''] }),
  ofXml('text and an object of one name', '<a>1</a><a><b/></a>', { a: ['1', { b: '' }] }),
  ofXml('MsgId twice', '<MsgId>9</MsgId>', (id) => ({ MsgId: ['9', id] })),
  ofXml('MsgType twice: the first counts', '<MsgType>event</MsgType><Event>e</Event>', {
    MsgType: ['text', 'event']
  }),
  ofXml('attributes', `<Content a="1" b:c = '2>'><![CDATA[x]]></Content>`, { Content: 'x' }),
  ofXml('comments', '<!-- <Content>y</Content> --><Content>x<!--y-->z</Content>', { Content: 'xz' }),
  ofXml('processing instructions', '<?php echo 1 ?><Content>x<?y?>z</Content>', { Content: 'xz' }),
  ofXml('text beside elements', '<a>x<b>1</b>y</a>z', { a: { b: '1', '#text': 'xy' }, '#text': 'z' }),
  ofXml('empty elements', '<a/><b></b><c ></c ><d><![CDATA[]]></d>', { a: '', b: '', c: '', d: '' }),
  ofXml('names of all kinds', '<a.b>1</a.b><a-b>2</a-b><a:b>3</a:b><内容>4</内容><_1>5</_1>', {
    'a.b': '1',
    'a-b': '2',
    'a:b': '3',
    内容: '4',
    _1: '5'
  }),
  ofXml('names that hurt', '<__proto__><a>1</a></__proto__><b><constructor>2</constructor></b><toString>3</toString>', {
    [`${BAD}__proto__`]: { a: '1' },
    b: { [`${BAD}constructor`]: '2' },
    toString: '3'
  }),
  ...['<?xml version="1.0" encoding="GBK"?>', "<?xml version='1.0' encoding='utf8'?>", '<?xml version="1.1"?>'].map(
    (declaration) =>
      whole((id) => bytes(declaration, [...text('<a>中</a>', id)]), `XML: ${declaration}`, 'xml', { a: '中' })
  ),
  whole((id) => bytes([0xef, 0xbb, 0xbf], '\r\n\t ', [...text('<a/>', id)]), 'XML: a byte order mark', 'xml', {
    a: ''
  }),
  whole((id) => bytes([...text('<a/>', id)], '\0\0 \n\0<!-- x -->'), 'XML: NULs behind it', 'xml', { a: '' }),
  whole((id) => bytes('<!-- x --><?y?>', [...text('<a/>', id)]), 'XML: a comment before it', 'xml', { a: '' }),
  whole((id) => Buffer.from(String(text('<a/>', id)).replace('<xml>', '<xml a="b">')), 'XML: the root', 'xml', {
    a: ''
  }),

  ofJson('a name twice', '"Content":"a","Content":["b"],"Content":{}', { Content: ['a', ['b'], {}] }),
  ofJson('MsgType twice: the first counts', '"MsgType":"event","Event":"e"', { MsgType: ['text', 'event'] }),
  ofJson('MsgId twice', '"MsgId":9', (id) => ({ MsgId: [9, Number(id)] })),
  ofJson('names that hurt', '"__proto__":{"a":1},"b":[{"constructor":2}],"toString":3', {
    [`${BAD}__proto__`]: { a: 1 },
    b: [{ [`${BAD}constructor`]: 2 }],
    toString: 3
  }),
  ofJson('names with control characters', '"a\x01":1,"a\\u0002":2,"b\ufffe":3', {
    [`a${BAD}`]: [1, 2],
    [`b${BAD}`]: 3
  }),
  ofJson('halves of surrogate pairs', '"Content":"\\ud83d\\ude00 \\ud83d \\ude00"', { Content: `😀 ${BAD} ${BAD}` }),
  ofJson('escaped control characters', '"Content":"\\u0000\\u001d\\ufffe\\t\\b"', {
    Content: `${BAD.repeat(3)}\t${BAD}`
  }),
  ofJson('numbers beyond 2^53', '"a":9007199254740993,"b":[-90071992547409931],"c":1e400,"d":1.5', {
    a: '9007199254740993',
    b: ['-90071992547409931'],
    c: '1e400',
    d: 1.5
  }),
  ofJson('null, true, empty', '"a":null,"b":true,"c":{},"d":[],"e":""', { a: null, b: true, c: {}, d: [], e: '' }),
  whole((id) => bytes([0xef, 0xbb, 0xbf], ' \n', [...object('"a":1', id)]), 'JSON: a byte order mark', 'json', {
    a: 1
  }),
  whole((id) => bytes([...object('"a":1', id)], '\0 \r\n\0'), 'JSON: NULs behind it', 'json', { a: 1 })
]

const ILLEGAL = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u

/** Every text of it, names too. */
function textsOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [String(value)]
  return Object.entries(value).flatMap(([name, inner]) => [name, ...textsOf(inner)])
}

for (const mode of MODES) {
  t.test(`what is rightly signed is recorded, whatever characters it holds: ${mode}`, async (t) => {
    const { app, logs } = await build(t, { env: envOf(mode) })
    for (const [index, { name, format, message, expected }] of RECORDED.entries()) {
      const id = String(7_000_000_000_000 + index)
      for (const _ of ['the first time', 'a repeat']) {
        const answer = await send(app, pack(mode, message(id), format))
        t.same([answer.statusCode, answer.body], [200, 'success'], name)
      }
      const events = (await eventsIn(app)).filter(({ data: { raw } }) => [raw.MsgId].flat().map(String).includes(id))
      t.equal(events.length, 1, `${name}: one event`)
      const { openid, msgType, raw } = events[0]?.data ?? {}
      const fields = typeof expected === 'function' ? expected(id) : expected
      t.same([openid, msgType], [OPENID, 'text'], name)
      t.same(Object.fromEntries(Object.keys(fields).map((field) => [field, raw[field]])), fields, name)
      t.notOk(
        textsOf(raw).some((some) => ILLEGAL.test(some)),
        `${name}: XML can carry it`
      )
    }
    t.same(await quarantined(app), [])
    t.notMatch(logs(), /[^\n\x20-\x7e]/, 'the log is plain text')
  })
}

t.test('kinds of messages in any spelling are recorded, and logged as words', async (t) => {
  const { app, logs } = await build(t, { env: SAFE })
  const kinds: [members: string, data: Record<string, unknown>, kind: string][] = [
    ['"MsgType":7', { msgType: '7' }, '7'],
    ['"MsgType":["text","event"]', { msgType: 'text' }, 'text'],
    ['"MsgType":"te\x1bxt"', { msgType: `te${BAD}xt` }, 'te?xt'],
    ['"MsgType":"文本"', { msgType: '文本' }, '??'],
    ['"MsgType":"EVENT","Event":"CLICK"', { msgType: 'EVENT', event: 'CLICK' }, 'CLICK'],
    ['"MsgType":"event","Event":"a\u0085\u2028\\ud800"', { event: `a\u0085\u2028${BAD}` }, 'a???'],
    ['"MsgType":"event","Event":["first","second"]', { event: 'first' }, 'first'],
    ['"MsgType":"event","Event":{"a":1}', { msgType: 'event', event: undefined }, 'event'],
    ['"MsgType":"event"', { msgType: 'event', event: undefined }, 'event'],
    ['"MsgType":"event","Event":"XPAY_refund_notify"', { event: 'XPAY_refund_notify' }, 'XPAY_refund_notify']
  ]
  for (const [index, [members, data, kind]] of kinds.entries()) {
    const before = logs().length
    const answer = await send(app, pack('safe', Buffer.from(`{${members},"CreateTime":${index}}`), 'json'))
    t.equal(answer.statusCode, 200, kind)
    const [event] = (await eventsIn(app)).filter(({ data: { raw } }) => raw.CreateTime === index)
    const named = Object.fromEntries(Object.keys(data).map((name) => [name, event?.data[name]]))
    t.same(named, data, kind)
    t.ok(logs().slice(before).includes(`"kind":"${kind}"`), kind)
  }
})

interface Unreadable {
  name: string
  format: Format
  message: Buffer
  reason: 'format' | 'MsgType'
}

const unread = (format: Format, reason: Unreadable['reason'], messages: Record<string, Bytes>): Unreadable[] =>
  Object.entries(messages).map(([name, message]) => ({
    name: `${format}: ${name}`,
    format,
    message: Buffer.from(message),
    reason
  }))

const TYPE = '<MsgType>text</MsgType>'
const UNREADABLE: Unreadable[] = [
  ...unread('xml', 'format', {
    'a tag that does not end': `<xml>${TYPE}<Content>a <b</Content></xml>`,
    'an end of nothing': `<xml>${TYPE}<Content>a </b</Content></xml>`,
    'not closed': `<xml>${TYPE}`,
    'a CDATA section not closed': `<xml>${TYPE}<Content><![CDATA[x</Content></xml>`,
    'closed in another order': `<xml>${TYPE}<a><b></a></b></xml>`,
    'an element that a user typed the beginning of': `<xml>${TYPE}<Content><![CDATA[]]><b]]></Content></xml>`,
    'too deep': `<xml>${TYPE}${'<a>'.repeat(9)}${'</a>'.repeat(9)}</xml>`,
    'too many elements': `<xml>${TYPE}${'<a/>'.repeat(16_384)}</xml>`,
    'another root': `<root>${TYPE}</root>`,
    'two roots': `<xml>${TYPE}</xml><xml></xml>`,
    'UTF-16': bytes([0xff, 0xfe], [...Buffer.from(`<xml>${TYPE}</xml>`, 'utf16le')])
  }),
  ...unread('xml', 'MsgType', {
    'no elements': '<xml></xml>',
    'no MsgType': '<xml><Event>e</Event></xml>',
    'an empty MsgType': '<xml><MsgType/></xml>',
    'a blank MsgType': '<xml><MsgType> \n</MsgType></xml>',
    'a MsgType of elements': '<xml><MsgType><a>text</a></MsgType></xml>',
    'MsgType in another element': `<xml><a>${TYPE}</a></xml>`
  }),
  ...unread('json', 'format', {
    nothing: '',
    blanks: ' \n\0',
    words: 'MsgType=text',
    'a list': '[{"MsgType":"text"}]',
    'a comma too much': '{"MsgType":"text",}',
    'no number': '{"MsgType":"text","a":NaN}',
    'single quotes': "{'MsgType':'text'}",
    'not closed': '{"MsgType":"text"',
    'something behind it': '{"MsgType":"text"} x',
    'too deep': `{"MsgType":"text","a":${'['.repeat(33)}${']'.repeat(33)}}`,
    'too many values': `{"MsgType":"text","a":[${'1,'.repeat(4096)}1]}`
  }),
  ...unread('json', 'MsgType', {
    'no members': '{}',
    'no MsgType': '{"Event":"e"}',
    ...Object.fromEntries(
      ['""', '" "', 'null', 'true', '{}', '[]', '[null,"text"]'].map((value) => [value, `{"MsgType":${value}}`])
    )
  })
]

for (const mode of ['plain', 'compatible', 'safe'] as const) {
  t.test(`what cannot be read waits in quarantine, sealed, and WeChat need not repeat it: ${mode}`, async (t) => {
    const { app, logs } = await build(t, { env: envOf(mode) })
    for (const { name, format, message, reason } of UNREADABLE) {
      const before = (await quarantined(app)).length
      const tries = [pack(mode, message, format), pack(mode, message, format)]
      for (const sent of tries) {
        const answer = await send(app, sent)
        t.same([answer.statusCode, answer.body, answer.headers['content-type']], [200, 'success', TEXT], name)
      }
      const [entry, ...others] = await quarantined(app)
      // In compatible mode the ciphertext stands in it; what is read is the same.
      t.equal(others.length, before, `${name}: one entry`)
      t.match(entry, { door: 'push', reason, times: 2, identity: /^push_wx0123456789abcdef_(plain_)?[0-9a-f]+$/ }, name)
      const kept = await app.callbacks.quarantine.find(entry?.id ?? '')
      if (kept === undefined || kept === 'unopenable') throw new Error(`${name} is not kept`)
      t.ok(kept.body.equals(tries[1]?.body ?? Buffer.alloc(0)), `${name}: its bytes are kept`)
      const sealedBytes = await app.redis.hgetBuffer(app.keys.quarantined(entry?.id ?? ''), 'sealed')
      if (message.length > 8) t.notOk(sealedBytes?.includes(message), `${name}: sealed`)
    }
    t.same(await eventsIn(app), [])
    t.match(logs(), '"verdict":"quarantined"')
    t.notMatch(logs(), /[^\n\x20-\x7e]/, 'the log is plain text')
    for (const secret of ['PicUrl', '<MsgType>', TOKEN, AES_KEY]) t.notMatch(logs(), secret)
  })

  t.test(`DOCTYPE and entities are refused, and leave nothing behind: ${mode}`, async (t) => {
    const { app } = await build(t, { env: envOf(mode) })
    const faces = new Set<string>()
    for (const message of [
      `<!DOCTYPE xml><xml>${TYPE}</xml>`,
      `<?xml version="1.0"?>\n<!doctype xml [<!ENTITY a "b">]><xml>${TYPE}<a>&a;</a></xml>`,
      `<!DOCTYPE xml SYSTEM "http://127.0.0.1:9/x.dtd"><xml>${TYPE}</xml>`,
      `<xml>${TYPE}<!ENTITY a "b"></xml>`,
      `<xml>${TYPE}<a>&b;</a></xml>`,
      `<xml>${TYPE}<a>&nbsp;</a></xml>`,
      `<xml>${TYPE}<a b="&c;"/></xml>`,
      `<xml>${TYPE}<a>AT&T; & Co</a></xml>`,
      `<xml>${TYPE}<a>1 < 2 &c;</a></xml>`
    ])
      faces.add(faceOf(await send(app, pack(mode, Buffer.from(message), 'xml'))))
    t.match([...faces], [/^\[403,"refused"/])
    t.equal(faces.size, 1)
    t.same([await quarantined(app), await eventsIn(app)], [[], []])
  })
}

type Place = 'before' | 'inside' | 'behind'
type Outcome = 'event' | 'quarantine' | typeof REFUSED
const PLACES: Record<Place, (what: string, id: number) => string> = {
  before: (what, id) => `<?xml version="1.0"?>${what}<xml>${TYPE}<MsgId>${id}</MsgId></xml>`,
  inside: (what, id) => `<xml>${TYPE}${what}<MsgId>${id}</MsgId></xml>`,
  behind: (what, id) => `<xml>${TYPE}<MsgId>${id}</MsgId></xml>${what}`
}
const QUARANTINE_AROUND = { before: 'quarantine', inside: 'event', behind: 'quarantine' } as const

const everywhere = (outcome: Outcome) => ({ before: outcome, inside: outcome, behind: outcome })

/** What becomes of a push that has one of these before, inside or behind its root. */
const AROUND: Record<string, Record<Place, Outcome>> = {
  '<!DOCTYPE x>': everywhere(REFUSED),
  '\n <!doctype xml [<!ENTITY a "b">]>': everywhere(REFUSED),
  '<!-- x --><?y?>\0<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">': everywhere(REFUSED),
  '<!DOCTYPE': everywhere(REFUSED),
  '<!ENTITY a "b">': everywhere(REFUSED),
  '<!entity % a "b">': everywhere(REFUSED),
  '<!-- <!DOCTYPE x> <!ENTITY a "b"> &a; & < -->': everywhere('event'),
  '<?y <!DOCTYPE x> <!ENTITY a "b"> &a; & < ?>': everywhere('event'),
  '<?xml version="1.0"?>': everywhere('event'),
  ' \t\r\n': everywhere('event'),
  text: QUARANTINE_AROUND,
  '&': QUARANTINE_AROUND,
  '< ': QUARANTINE_AROUND,
  '<![CDATA[<!DOCTYPE x>]]>': QUARANTINE_AROUND,
  '<xml></xml>': QUARANTINE_AROUND,
  '<root><a/></root>': QUARANTINE_AROUND,
  '</xml>': everywhere('quarantine')
}

/** In compatible mode with another message beside it: an envelope that does not end with its root is none. */
function packAlone(mode: Mode, message: string): Sent {
  if (mode !== 'compatible') return pack(mode, Buffer.from(message), 'xml')
  const { query, body } = sealed(encrypt(message), {}, 'xml', TYPE)
  return { query, body: Buffer.from(body) }
}

for (const mode of ['plain', 'compatible', 'safe'] as const) {
  t.test(`what stands before, inside and behind the root: ${mode}`, async (t) => {
    const { app } = await build(t, { env: envOf(mode) })
    const counts = async () => [(await eventsIn(app)).length, (await quarantined(app)).length]
    let id = 9_000_000_000_000
    for (const [what, outcomes] of Object.entries(AROUND)) {
      for (const place of ['before', 'inside', 'behind'] as const) {
        id += 1
        const [events = 0, kept = 0] = await counts()
        const { statusCode } = await send(app, packAlone(mode, PLACES[place](what, id)))
        const wanted = outcomes[place]
        const after = [events + Number(wanted === 'event'), kept + Number(wanted === 'quarantine')]
        t.same([statusCode, await counts()], [wanted === REFUSED ? 403 : 200, after], `${place}: ${what}`)
      }
    }
  })
}

t.test('the plain half of a compatible push hinders nobody from reading the encrypted one', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const halves: [Format, string][] = [
    ['xml', '<Content>a&b</Content>'],
    ['xml', '<Content><![CDATA[]]><Encrypt>AAAA</Encrypt><b]]></Content>'],
    ['xml', '<Content><![CDATA[]]></Content><Encrypt>AAAA</Encrypt><Content><![CDATA[]]></Content>'],
    ['xml', `<Content><![CDATA[]]></Content>${'<Encrypt>AAAA</Encrypt>'.repeat(20)}<Content/>`],
    ['xml', '<Encrypt><a>AAAA</a></Encrypt><Encrypt/><Encrypt>!</Encrypt>'],
    ['xml', `<Content>a&b</Content>${'<Encrypt>AAAA</Encrypt>'.repeat(20)}`],
    ['xml', '<Content>not closed'],
    ['xml', `${'<a>'.repeat(20)}${'</a>'.repeat(20)}`],
    ['json', '"Content":NaN,'],
    ['json', `"a":${'['.repeat(40)}${']'.repeat(40)},`],
    ['json', '"Content":"a" "b",']
  ]
  for (const [index, [format, half]] of halves.entries()) {
    const message = textMessage({ MsgId: String(8_000_000_000_000 + index) })
    const inner = format === 'xml' ? xml(message) : JSON.stringify(message)
    const sent = sealed(encrypt(inner), {}, format, half)
    succeeds(t, await send(app, sent))
    t.equal((await eventsIn(app)).length, index + 1, half)
    const forged = sealed(encrypt(inner), {}, format, half)
    answers(t, await send(app, { query: sent.query, body: forged.body }), 403, REFUSED)
  }
  t.same(await quarantined(app), [])
})

t.test('in plain mode a query is good for one unreadable body, and no more is kept than so many of them', async (t) => {
  const { app, another } = await build(t, { env: { ...PLAIN, LOG_LEVEL: 'silent' } })
  const second = await another()
  const push = plainPush('{"a":1}')
  succeeds(t, await send(app, push))
  for (const body of ['{"a":2}', '{"a":1} ', '', 'x', JSON.stringify(textMessage()), '<xml>'])
    for (const instance of [app, second]) answers(t, await send(instance, { ...push, body }), 403, REFUSED)
  succeeds(t, await send(second, push))
  t.match(await quarantined(app), [{ times: 2 }])

  const message = plainPush(JSON.stringify(textMessage()))
  succeeds(t, await send(app, message))
  answers(t, await send(second, { ...message, body: '{"a":3}' }), 403, REFUSED)
  const old = plainPush('{"a":4}', { timestamp: nowSeconds() - 700 })
  answers(t, await send(app, old), 403, REFUSED)
  t.equal((await quarantined(app)).length, 1)

  for (let index = 0; index < 20; index++) succeeds(t, await send(app, plainPush(`{"b":${index}}`)))
  const places = (await quarantined(app)).map(({ identity }) => identity)
  for (const place of places) t.match(place, /^push_wx0123456789abcdef_plain_[0-9a-f]{3}$/)
  answers(t, await send(app, plainPush(`{"b":${' '.repeat(128 * 1024)}`)), 403, REFUSED)
  succeeds(t, await send(app, plainPush(JSON.stringify(textMessage({ Content: 'x'.repeat(512 * 1024) })))))
  t.equal((await quarantined(app)).length, places.length)
})

t.test('without a key an encrypted push is refused, and not kept', async (t) => {
  const { app } = await build(t, { env: PLAIN })
  for (const format of ['xml', 'json'] as const)
    answers(t, await send(app, sealed(encrypt('{}'), {}, format)), 403, REFUSED)
  t.same(await quarantined(app), [])
})

t.test('a retry reads what is kept by the settings of today and the clock of then', async (t) => {
  let clock = Date.now()
  for (const [mode, env] of [
    ['plain', PLAIN],
    ['compatible', SAFE],
    ['safe', SAFE]
  ] as const) {
    const { app, another } = await build(t, { env: { ...env }, now: () => clock })
    const retry = async (instance: FastifyInstance, id: string) => {
      const headers = { authorization: `Bearer ${API_KEY}` }
      return (
        await instance.inject({ method: 'POST', url: `/internal/callbacks/quarantined/${id}/retry`, headers })
      ).json()
    }
    const at = { timestamp: Math.floor(clock / 1000) }
    const message = textMessage()
    // As a version that could not read it would have kept it.
    const text = Buffer.from(JSON.stringify(message))
    const sent = mode === 'plain' ? { query: plainPush('', at).query, body: text } : sealedAt(text, at)
    const kept = { identity: 'push_x', door: 'push', reason: 'format', owner: APPID, ...sent } as const
    await app.callbacks.quarantine.put({ ...kept, body: Buffer.from(sent.body) })
    const unreadable = mode === 'plain' ? plainPush('{"a":1}', at) : sealedAt(Buffer.from('{"a":1}'), at)
    succeeds(t, await send(app, unreadable))

    clock += 2 * 86_400_000
    const entries = await quarantined(app)
    const readable = entries.find(({ identity }) => identity === 'push_x')?.id ?? ''
    const still = entries.find(({ identity }) => identity !== 'push_x')?.id ?? ''
    const stranger = await another({ WECHAT_PUSH_TOKEN: 'BToken2026' })
    t.match(await retry(stranger, readable), { verdict: 'refused', reason: 'signature' })
    t.match(await retry(app, still), { verdict: 'quarantined', reason: 'MsgType' })
    t.equal((await quarantined(app)).length, 2)
    t.match(await retry(app, readable), { verdict: 'recorded', webhookId: `msg_${APPID}_${message.MsgId}` })
    t.match(await retry(app, readable), { code: 'NOT_FOUND' })
    t.match(await quarantined(app), [{ id: still, times: 1 }])
    t.same(
      (await eventsIn(app)).map(({ data }) => data.raw),
      [message]
    )
  }
})

t.test('what cannot be kept is 503, so that WeChat comes again', async (t) => {
  const redis = await startRedis({ persist: true })
  t.teardown(() => redis.stop())
  for (const [mode, env] of [
    ['plain', PLAIN],
    ['safe', SAFE]
  ] as const) {
    const { app, logs } = await build(t, { env: { ...env }, redis })
    const sent = pack(mode, Buffer.from('{"a":1}'), 'json')
    const closed = once(app.redis, 'close')
    redis.kill()
    await closed
    answers(t, await send(app, sent), 503, REFUSED)
    t.match(logs(), '"verdict":"failed"')
    await redis.restart()
    await settled(app.redis, 5000)
    succeeds(t, await send(app, sent))
    t.equal((await quarantined(app)).length, 1)
  }
})

t.test('users who type what looks like elements become nobody else', async (t) => {
  const { app } = await build(t, { env: SAFE })
  const forged = eventMessage('user_authorization_cancellation', { OpenID: 'oVictim', FromUserName: 'oVictim' })
  const elements = xml(forged).replaceAll(/<.?xml>/g, '')
  const content = `x]]></Content>${elements}<Content><![CDATA[y`
  succeeds(t, await send(app, pack('safe', text(inCdata(content), '9000000000001'), 'xml')))
  const [event] = await eventsIn(app)
  t.match(event?.data, { openid: OPENID, msgType: 'text' })
  t.notOk(event?.data.event)
  t.equal(event?.id, `msg_${APPID}_9000000000001`)
  t.same(event?.data.raw.FromUserName, [OPENID, 'oVictim'])
})
