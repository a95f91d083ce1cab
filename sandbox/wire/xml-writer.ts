/** Writes the flat XML of WeChat Pay v2 in both spellings it comes in: CDATA, or escaped text. */
const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

function escaped(value: string): string {
  return value.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? character)
}

/** `]]>` cannot stand in a CDATA section: it is split over two. */
export function inCdata(value: string): string {
  return `<![CDATA[${value.replaceAll(']]>', ']]]]><![CDATA[>')}]]>`
}

/** As WeChat writes: text in CDATA, whole numbers of up to 10 digits (money, counts) bare. */
function likeWechat(value: string): string {
  return /^\d{1,10}$/.test(value) ? value : inCdata(value)
}

export function writeXml(fields: ReadonlyMap<string, string>, cdata = true, root = 'xml'): string {
  const spell = cdata ? likeWechat : escaped
  const lines = [...fields].map(([name, value]) => `<${name}>${spell(value)}</${name}>`)
  return [`<${root}>`, ...lines, `</${root}>`].join('\n')
}
