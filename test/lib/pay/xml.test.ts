/**
 * The XML reader of WeChat Pay: what it accepts, what it refuses and with which word. No input makes it throw or run
 * long.
 */
import fc from 'fast-check'
import t from 'tap'
import { type FlatXml, MAX_XML_BYTES, parseFlatXml } from '../../../lib/xml/read.ts'
import { buildFlatXml } from '../../../lib/xml/write.ts'
import { vectors } from '../../vectors.ts'

const hostile = vectors('pay-xml-hostile')
const notices = vectors('pay-v2-pay-notify')
const goodXml: string = hostile.cases[0].input.body

t.test(
  'parseFlatXml() gives the verdict of every hostile vector, and the same fields for every accepted spelling',
  async (t) => {
    const seen = { accept: 0, reject: 0 }
    for (const { name, input, expected } of hostile.cases) {
      const outcome = parseFlatXml(bytesOf(input))
      t.equal(outcome.status, expected.verdict === 'accept' ? 'parsed' : 'refused', name)
      if (outcome.status === 'parsed') t.strictSame(Object.fromEntries(outcome.fields), hostile.fields, name)
      seen[expected.verdict as keyof typeof seen]++
    }
    t.strictSame(seen, { accept: 6, reject: 38 })
  }
)

t.test('parseFlatXml() says in one word why a hostile vector was refused', async (t) => {
  const reasons = hostile.cases.slice(6).map(({ input }: { input: { body: string } }) => reasonOf(bytesOf(input)))
  t.strictSame(reasons, [
    ...Array(7).fill('doctype'),
    'doctype', // the entity bomb
    ...Array(4).fill('entity'),
    'shape', // processing instruction
    'attribute',
    ...Array(2).fill('shape'), // name space prefixes
    'duplicate',
    'nested',
    'shape', // text between elements
    ...Array(2).fill('name'),
    ...Array(7).fill('shape'), // roots, and what is not closed
    'nested',
    'character',
    ...Array(3).fill('encoding'),
    ...Array(5).fill('shape') // no XML at all
  ])
})

t.test('parseFlatXml() reads the fields of the notice vectors and refuses the malformed ones', async (t) => {
  const seen = { parsed: 0, refused: 0 }
  for (const { name, input, expected } of notices.cases) {
    const outcome = parseFlatXml(bytesOf(input))
    t.equal(outcome.status, expected.verdict === 'malformed' ? 'refused' : 'parsed', name)
    if (expected.fields) t.strictSame(fieldsOf(bytesOf(input)), expected.fields, name)
    seen[outcome.status]++
  }
  t.strictSame(seen, { parsed: 29, refused: 2 })
})

t.test('parseFlatXml() keeps text as it was written and decodes it once', async (t) => {
  const values: [xml: string, value: string][] = [
    ['&amp;lt;', '&lt;'],
    ['&amp;#39;', '&#39;'],
    ['<![CDATA[&amp;]]>&amp;', '&amp;&'],
    ['&lt;&gt;&quot;&apos;&#39;&#x2F;&#128512;', "<>\"''/😀"],
    ['😀', '😀'],
    ['0012', '0012'],
    ['1e5', '1e5'],
    ['true', 'true'],
    ['4200002400202501011234567890', '4200002400202501011234567890'],
    ['  a\tb ', '  a\tb '],
    ['a\r\nb\rc&#13;', 'a\nb\nc\r'],
    ['a>b"\'=/', 'a>b"\'=/'],
    ['<![CDATA[]]>', ''],
    [' <![CDATA[ <b>&x;<!DOCTYPE a> ]]> ', '  <b>&x;<!DOCTYPE a>  ']
  ]
  for (const [xml, value] of values) t.strictSame(fieldsOf(`<xml>\n<a>${xml}</a>\n</xml>`), { a: value }, xml)
})

t.test('parseFlatXml() takes any legal field name, also those JavaScript objects have or the root has', async (t) => {
  const xml =
    '<xml><xml>1</xml> <toString>2</toString><__toString/><hasOwnProperty />\n<_0>3</_0><A>4</A><a>5</a></xml >'
  const expected = { xml: '1', toString: '2', __toString: '', hasOwnProperty: '', _0: '3', A: '4', a: '5' }
  t.strictSame(fieldsOf(xml), expected)
  t.strictSame(fieldsOf('<xml></xml>'), {})
})

t.test('parseFlatXml() refuses what the vectors do not show', async (t) => {
  const refusals: Record<string, string[]> = {
    doctype: ['<xml><a><!DOCTYPE a></a></xml>', '<xml><!ENTITY x "y"></xml>', '<xml><a/></xml><!doctype xml>'],
    attribute: ['<xml a="1"><a/></xml>', '<xml ><a b/></xml>', "<xml><a\nb='>'/></xml>", '<xml><a / ></xml>'],
    nested: ['<xml><a>1<b/></a></xml>', '<xml><a><xml></a></xml>'],
    duplicate: ['<xml><a/><a/></xml>', '<xml><a/><b>1</b><a>1</a></xml>'],
    name: ['<xml><prototype/></xml>', '<xml><constructor>1</constructor></xml>'],
    character: ['<xml><a>\u0001</a></xml>', '<xml><a>\uffff</a></xml>', '<xml>\u000b</xml>'],
    entity: [
      '&',
      '&;',
      '&amp',
      '&AMP;',
      '&#;',
      '&#x;',
      '&#xD800;',
      '&#xd83d;&#xde00;',
      '&#8;',
      '&#xFFFE;',
      '&am&amp;p;',
      '&#99999999999;'
    ].map((text) => `<xml><a>${text}</a></xml>`),
    encoding: ['<?xml version="1.0" encoding="GB18030"?><xml/>', "<?xml version='1.0' encoding='utf-16'?><xml/>"],
    shape: [
      '<xml/>',
      '<xml><a></a>',
      '<xml><a></b></xml>',
      '<xml><a></ab></xml>',
      '<xml><a></a b></xml>',
      '<xml></xmlx>',
      '<xmlx></xmlx>',
      '<XML></XML>',
      '<xml><a/></xml><!-- -->',
      '<xml><!-- --></xml>',
      '<xml><a><!-- --></a></xml>',
      '<xml><a><?b?></a></xml>',
      '<xml><![CDATA[ ]]></xml>',
      '<xml>&#32;</xml>',
      '<xml><a><![cdata[x]]></a></xml>',
      '<xml>< a/></xml>',
      '<xml><a>]]></a></xml>',
      '<xml><1/></xml>',
      '<xml><é/></xml>',
      '<xml><a.b/></xml>',
      '<xml><a-b/></xml>',
      '<xml></ xml>',
      '<xml\u00a0></xml>',
      ' <?xml version="1.0"?><xml></xml>',
      '<?xml version="1.1"?><xml></xml>',
      '<?xml?><xml></xml>',
      '<?xml version="1.0" a="b"?><xml></xml>',
      '<?php ?><xml></xml>',
      '<?xml version="1.0"><xml></xml>',
      '\ufeff\ufeff<xml></xml>',
      '<xml><a',
      '<xml><a>',
      '<xml><',
      '<',
      '<!'
    ]
  }
  for (const [reason, xmls] of Object.entries(refusals)) {
    for (const xml of xmls) t.equal(reasonOf(Buffer.from(xml)), reason, xml)
  }
})

t.test('parseFlatXml() takes an XML declaration in its legal spellings', async (t) => {
  const declarations = [
    "<?xml version='1.0'?>",
    '<?xml version = "1.0" encoding="utf-8" ?>',
    '<?xml version="1.0"\r\n encoding=\'UTF-8\' standalone="yes"?>',
    '\ufeff<?xml version="1.0" standalone="no"?>'
  ]
  for (const declaration of declarations)
    t.strictSame(fieldsOf(`${declaration}\n<xml><a>1</a></xml>`), { a: '1' }, declaration)
})

t.test('parseFlatXml() reads the other root only where it was asked for', async (t) => {
  const body = Buffer.from('<root><refund_id>50000000382019052709732678859</refund_id></root>')
  t.equal(reasonOf(body), 'shape')
  const outcome = parseFlatXml(body, { root: 'root' })
  t.strictSame(toObject(outcome), { refund_id: '50000000382019052709732678859' })
  t.equal(reasonOf(Buffer.from(goodXml), { root: 'root' }), 'shape')
})

t.test('parseFlatXml() stops at its limits: 64 KiB unless told otherwise, and 1024 elements', async (t) => {
  const padded = (bytes: number) => Buffer.from(`<xml><a>${'x'.repeat(bytes - 18)}</a></xml>`)
  t.equal(MAX_XML_BYTES, 65536)
  t.equal(padded(65536).length, 65536)
  t.equal(parseFlatXml(padded(65536)).status, 'parsed')
  t.equal(reasonOf(padded(65537)), 'size')
  t.equal(parseFlatXml(padded(65537), { maxBytes: 70000 }).status, 'parsed')
  t.equal(reasonOf(padded(100), { maxBytes: 99 }), 'size')
  const elements = (count: number) =>
    Buffer.from(`<xml>${Array.from({ length: count }, (_, i) => `<a${i}/>`).join('')}</xml>`)
  t.equal(parseFlatXml(elements(1024)).status, 'parsed')
  t.equal(reasonOf(elements(1025)), 'size')
})

// If the time of one of these grew faster than its size, it would take minutes at this size (an entity bomb: for ever),
// and the runner's time-out would end the test.
t.test('parseFlatXml() gets through the worst 64 KiB of each kind', async (t) => {
  const fill = (unit: string) => unit.repeat(Math.floor((MAX_XML_BYTES - 64) / Buffer.byteLength(unit)))
  const distinct = Array.from({ length: 9000 }, (_, i) => `<a${i.toString(36)}/>`).join('')
  const kinds: [xml: string, outcome: string][] = [
    [fill('<'), 'shape'],
    [`<xml>${fill('<')}`, 'shape'],
    [`<xml>${fill('<a>')}`, 'nested'],
    [`<xml>${distinct.replaceAll('/', '')}`, 'nested'],
    [`<xml>${fill('<a/>')}</xml>`, 'duplicate'],
    [`<xml>${distinct}</xml>`, 'size'],
    [`<xml><${fill('a')}`, 'shape'],
    [`<xml><${fill('a')}/></xml>`, 'parsed'],
    [`<xml><a${fill(' ')}b/></xml>`, 'attribute'],
    [`<xml><a>${fill('&')}</a></xml>`, 'entity'],
    [`<xml><a>${fill('&#x')}</a></xml>`, 'entity'],
    [`<xml><a>&#${fill('1')}</a></xml>`, 'entity'],
    [`<xml><a>&#${fill('1')};</a></xml>`, 'entity'],
    [`<xml><a>&#${fill('0')}65;</a></xml>`, 'parsed'],
    [`<xml><a>${fill('&amp;')}</a></xml>`, 'parsed'],
    [`<xml><a>${fill(']]>')}</a></xml>`, 'shape'],
    [`<xml><a><![CDATA[${fill(']')}`, 'shape'],
    [`<xml><a>${fill('<![CDATA[')}`, 'shape'],
    [`<xml><a>${fill('<![CDATA[&]]>')}</a></xml>`, 'parsed'],
    [`<xml><a>${fill('<![CDATA[]]>&lt;')}</a></xml>`, 'parsed'],
    [`<xml>${fill('\r\n')}</xml>`, 'parsed'],
    [`<xml><a>${fill('中')}</a></xml>`, 'parsed'],
    [`<xml>${fill('</')}`, 'shape'],
    [`<xml>${fill('<!DOCTYPE ')}`, 'doctype'],
    [`<?xml version="1.0"${fill(' ')}x`, 'shape'],
    [`<?xml version="1.0" encoding="${fill('a')}`, 'shape'],
    [`${fill('a')}\0`, 'character']
  ]
  for (const [xml, outcome] of kinds) {
    const parsed = parseFlatXml(Buffer.from(xml))
    t.equal(parsed.status === 'refused' ? parsed.reason : 'parsed', outcome, `${xml.slice(0, 30)}…`)
  }
})

t.test('buildFlatXml() and parseFlatXml() are each other undone, for any text XML can carry', async () => {
  fc.assert(
    fc.property(fields(), (record) => {
      const xml = buildFlatXml(Object.entries(record))
      return sameFields(toObject(parseFlatXml(Buffer.from(xml), { maxBytes: 1e6 })), record)
    }),
    { numRuns: 200 }
  )
})

t.test('parseFlatXml() reads escaped text like CDATA', async () => {
  fc.assert(
    fc.property(fields(), (record) => {
      const elements = Object.entries(record).map(([name, value]) => `  <${name} >${escapeText(value)}</${name} >\r\n`)
      const xml = `<xml>\r\n${elements.join('')}</xml>`
      return sameFields(toObject(parseFlatXml(Buffer.from(xml), { maxBytes: 1e6 })), record)
    }),
    { numRuns: 200 }
  )
})

t.test('buildFlatXml() refuses names and text that no reader would take back', async (t) => {
  t.equal(buildFlatXml([['a', ']]>']]), '<xml><a><![CDATA[]]]]><![CDATA[>]]></a></xml>')
  for (const name of ['a><b', '', '1', 'a b', '__proto__', 'constructor']) {
    t.throws(() => buildFlatXml([[name, '1']]), RangeError, name)
  }
  for (const value of ['\0', '\u000b', '\ud800', '\udc00\ud800', '\uffff']) {
    t.throws(() => buildFlatXml([['a', value]]), RangeError, JSON.stringify(value))
  }
})

t.test('parseFlatXml() never throws on random bytes', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => hasStatus(parseFlatXml(Buffer.from(bytes)))),
    { numRuns: 1000 }
  )
})

t.test('parseFlatXml() never throws on damaged XML, and what it takes reads as another reader reads it', async (t) => {
  const seen = { parsed: 0, refused: 0 }
  fc.assert(
    fc.property(fc.array(cut(), { minLength: 1, maxLength: 4 }), (cuts) => {
      const xml = cuts.reduce(applyCut, goodXml).toWellFormed()
      const outcome = parseFlatXml(Buffer.from(xml))
      seen[outcome.status]++
      return outcome.status === 'refused' || sameFields(toObject(outcome), readLeniently(xml))
    }),
    { numRuns: 2000 }
  )
  t.ok(seen.parsed > 50 && seen.refused > 50, `both happened: ${JSON.stringify(seen)}`)
})

function bytesOf(input: { body?: string; bodyBase64?: string }): Buffer {
  return input.body === undefined ? Buffer.from(input.bodyBase64 ?? '', 'base64') : Buffer.from(input.body)
}

function toObject(outcome: FlatXml): Record<string, string> | string {
  return outcome.status === 'parsed' ? Object.fromEntries(outcome.fields) : outcome.reason
}

function fieldsOf(xml: string | Buffer): Record<string, string> | string {
  return toObject(parseFlatXml(Buffer.from(xml)))
}

function reasonOf(body: Buffer, options?: Parameters<typeof parseFlatXml>[1]): string {
  const outcome = parseFlatXml(body, options)
  return outcome.status === 'refused' ? outcome.reason : 'parsed'
}

function hasStatus(outcome: FlatXml): boolean {
  return outcome.status === 'parsed' || outcome.status === 'refused'
}

/** Legal names and any legal text, with the fragments that matter to XML in good number. */
function fields(): fc.Arbitrary<Record<string, string>> {
  const name = fc
    .stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,20}$/)
    .filter((name) => !['__proto__', 'constructor', 'prototype'].includes(name))
  const fragment = fc.constantFrom(
    ']]>',
    ']]',
    ']',
    '>',
    '<![CDATA[',
    '<',
    '&',
    '&amp;',
    '&#39;',
    '\r',
    '\n',
    ' ',
    '</xml>',
    '<!DOCTYPE a>'
  )
  const legal = fc
    .string({ unit: 'binary' })
    .filter((text) => text.isWellFormed() && !/[^\t\n\r\u0020-\ufffd]/.test(text))
  return fc.dictionary(
    name,
    fc.array(fc.oneof(fragment, legal), { maxLength: 8 }).map((parts) => parts.join('')),
    { noNullPrototype: true }
  )
}

function escapeText(text: string): string {
  return text.replace(/[&<>\r]/g, (character) => `&#${character.charCodeAt(0)};`)
}

function sameFields(actual: unknown, expected: Record<string, string>): boolean {
  const sorted = (record: object) => JSON.stringify(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)))
  return typeof actual === 'object' && actual !== null && sorted(actual) === sorted(expected)
}

type Cut = { at: number; length: number; text: string }

/** Takes some characters out at a place and puts others in, most of them with a meaning in XML. */
function cut(): fc.Arbitrary<Cut> {
  const fragments = [
    '<a>',
    '</a>',
    '<b/>',
    '<a',
    '>',
    '<',
    '/',
    '</',
    '&',
    '&lt;',
    '&#65;',
    ';',
    '<![CDATA[',
    ']]>',
    '<!--',
    '-->',
    '<?x?>',
    ' '
  ]
  const more = [
    '\n',
    '\r',
    '"',
    "'",
    '=',
    '0',
    'appid',
    '<!DOCTYPE a>',
    '</xml>',
    '<xml>',
    '\0',
    '\u00a0',
    '中',
    '😀',
    '<c> x </c>',
    '&amp;amp;'
  ]
  return fc.record({
    at: fc.nat({ max: goodXml.length }),
    length: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.nat({ max: 12 })),
    text: fc.constantFrom('', ...fragments, ...more)
  })
}

function applyCut(xml: string, { at, length, text }: Cut): string {
  return xml.slice(0, at) + text + xml.slice(at + length)
}

/** Another reader, which is lenient: right for every flat message, and undefined for everything else. */
function readLeniently(xml: string): Record<string, string> {
  const inside = xml.replace(/\r\n?/g, '\n').replace(/^[^<]*<xml\s*>/, '')
  const elements = inside.matchAll(/<(\w+)\s*(?:\/>|>((?:<!\[CDATA\[[\s\S]*?\]\]>|[^<])*)<\/\1\s*>)/g)
  const characters: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", '#65': 'A' }
  const decode = (content: string) =>
    content.replace(/<!\[CDATA\[([\s\S]*?)\]\]>|&([^;]*);/g, (_, literal, name) => literal ?? characters[name])
  return Object.fromEntries([...elements].map(([, name = '', content = '']) => [name, decode(content)]))
}
