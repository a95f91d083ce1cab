/** Writes the flat XML that WeChat is sent. */
import { isLegalText, quoteCdata, RESERVED_NAMES } from './text.ts'

const FIELD_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/**
 * Writes `<xml>` with every text in CDATA, the spelling of WeChat's own samples, and numbers bare. Throws RangeError on
 * a name or a character that `parseFlatXml` would refuse: names are ours, and text has to be checked before it gets
 * here.
 */
export function buildFlatXml(fields: Iterable<readonly [name: string, value: string | number]>): string {
  let xml = '<xml>'
  for (const [name, value] of fields) {
    if (!FIELD_NAME.test(name) || RESERVED_NAMES.has(name)) throw new RangeError(`${name} cannot name an XML element`)
    const text = String(value)
    if (!isLegalText(text)) throw new RangeError(`the value of ${name} has a character XML cannot carry`)
    xml += `<${name}>${typeof value === 'number' ? text : quoteCdata(text)}</${name}>`
  }
  return `${xml}</xml>`
}
