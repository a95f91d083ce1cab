/** Amounts that are not a whole number of fen from 1 to 2^31 - 1, as JSON and not as JSON. */

/** JSON, but no amount. */
export const NO_AMOUNTS = [
  '0',
  '-0',
  '-1',
  '0.1',
  '1.5',
  '1e-1',
  '87.9999999999',
  '2147483648',
  '4294967297',
  '9007199254740993',
  '1e10',
  '1e999',
  '-1e999',
  'null',
  'true',
  '""',
  '"88"',
  '"NaN"',
  '"Infinity"',
  '"1e2"',
  '[88]',
  '{}'
]

/** Not even JSON. */
export const NO_JSON = ['NaN', 'Infinity', '-Infinity', '0x58', '+88', '088', '88.', '1_0', '']

/** `fields` as JSON, with this text, or nothing where there is none, as the value of `name`. */
export function spelled(fields: object, name: string, text?: string): string {
  const { [name]: _, ...others } = fields as Record<string, unknown>
  const rest = JSON.stringify(others).slice(1)
  return text === undefined ? `{${rest}` : `{"${name}":${text},${rest}`
}
