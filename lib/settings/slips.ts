/** Mistakes that happen to values on their way into the environment. A message names the mistake, never the value. */

import type { TSchema } from '@sinclair/typebox'
import { notesOf } from './notes.ts'

const QUOTED = /^(?:".*"|'.*'|`.*`|“.*”|‘.*’|「.*」|＂.*＂)$/s
const HALF_QUOTED = /^["'`“”‘’「」＂]|["'`“”‘’「」＂]$/
const PLACEHOLDER = /^(?:<[^<>]*>|\$\{[^{}]*\}|\{\{[^{}]*\}\})$/
const PART_PLACEHOLDER = /<[^<>]*>|\$\{|\{\{|change.?me/i
const UNSEEN = /[\u00a0\u00ad\u200b-\u200f\u2028\u2029\u202f\u2060\u3000\ufeff]/
const FULL_WIDTH = /[\uff01-\uff5e“”‘’「」、。]/
const PEM_KINDS = ['private key', 'public key', 'certificate', 'certificate request']
const PATH = /^(?:~?\/|\.{1,2}\/|[A-Za-z]:[\\/])[^\s,;|<>"'`]*$/
const ROOTED = /^@?(?:~?\/|\.{1,2}\/|[A-Za-z]:[\\/])[\w .:~@#\\/-]*$/
/** Words with slashes between. */
const RELATIVE = /^(?:[A-Za-z]+(?:[._-]+[A-Za-z]+)*\d{0,4}\/)+\.?[A-Za-z]+(?:[._-]+[A-Za-z]+)*\d{0,4}$/
/** A URL, and what shells, Compose, systemd and Windows replace by a value. */
const REFERENCE = /^(?:[A-Za-z][\w+.-]*:\/\/|\$[({]|\$[A-Za-z_]\w*(?:\/|$)|%[A-Za-z]\/|%\w+%)/

/** A mistake that is wrong for every setting: a start would only fail later. The text follows the name. */
export function certainSlip(value: string): string | undefined {
  if (value.startsWith('\ufeff')) return 'begins with a byte order mark: save what it comes from as UTF-8 without one'
  if (value.includes('\r') && !isPem(value))
    return 'holds a carriage return: the file it comes from has the line ends of Windows (CRLF)'
  if (QUOTED.test(value))
    return 'stands in quotes: leave them out, docker --env-file and others keep them as a part of the value'
  if (PLACEHOLDER.test(value)) return 'is still the placeholder of an example'
  return undefined
}

export const looksLikePath = (value: string): boolean => PATH.test(value)

/** Base64 has slashes, too, but no other mark of a path beside them, and is never long without a capital. */
const isNoBase64 = (text: string): boolean => /[^A-Za-z0-9/]/.test(text) || !/[A-Z]/.test(text)

export const IS_PATH = 'is the path of a file'

/** What stands where random text belongs, and would be a key that others can guess. The text follows the name. */
export function guessable(value: string): string | undefined {
  if (REFERENCE.test(value)) return 'is a reference to a value that nothing has put in its place'
  const isLocation = (ROOTED.test(value) || RELATIVE.test(value)) && isNoBase64(value)
  return isLocation ? IS_PATH : undefined
}

/** What may have happened to a value that its rule refuses. The text follows the rule. */
export function likelySlip(value: string, schema: TSchema, name?: string): string | undefined {
  const { kind, secret, file } = notesOf(schema)
  if (kind === 'path') return /^\s*[[{]/.test(value) ? 'it is the text of a file; its path is wanted' : textSlip(value)
  if (looksLikePath(value)) {
    const mayBeFile = name !== undefined && (secret || file)
    return mayBeFile ? `it is a path, so name it ${name}_FILE` : 'it is a path'
  }
  if (kind === 'PEM' || isPem(value)) return pemSlip(value, schema) ?? textSlip(value)
  return textSlip(value) ?? wordSlip(value, schema)
}

function textSlip(value: string): string | undefined {
  if (UNSEEN.test(value)) return 'it holds a character that is not seen, such as a no-break space; type it anew'
  if (/^\s|\s$/.test(value.replace(/\n$/, ''))) return 'it begins or ends with a blank'
  if (HALF_QUOTED.test(value)) return 'it begins or ends with a quote'
  if (FULL_WIDTH.test(value)) return 'it holds full-width characters; type it anew in plain ASCII'
  if (PART_PLACEHOLDER.test(value)) return 'it holds the placeholder of an example'
  return undefined
}

function isPem(value: string): boolean {
  return value.includes('-----BEGIN')
}

function pemSlip(value: string, schema: TSchema): string | undefined {
  const [, label = ''] = /-----BEGIN ([A-Z0-9 ]+)-----/.exec(value) ?? []
  if (label === '') return 'it has no line -----BEGIN …-----'
  if (!value.includes('-----END')) return 'it has no line -----END …-----: it was cut, perhaps at a line break'
  if (value.includes('ENCRYPTED')) return 'it is encrypted; take the password off with: openssl pkey -in FILE'
  if (!/-----\s*[\n\r]|-----(?:\\r)?\\n/.test(value)) return 'its line breaks are gone; write them as \\n'
  const given = PEM_KINDS.find((kind) => label.toLowerCase().endsWith(kind))
  const [wanted = ''] = notesOf(schema).rule.split('(')
  return given === undefined || wanted.includes(given) ? undefined : `it is a ${given}`
}

/** Choices and numbers. */
function wordSlip(value: string, schema: TSchema): string | undefined {
  const choices: unknown[] = schema.enum ?? []
  if (choices.includes(value.toLowerCase())) return 'it is written in small letters'
  if (choices.includes('on') && /^(?:true|yes|1|enabled?)$/i.test(value)) return 'write on'
  if (choices.includes('on') && /^(?:false|no|0|disabled?)$/i.test(value)) return 'write off'
  if (schema.type === 'integer' && /^\d[\d_.]*\s*[a-z]+$/i.test(value)) return 'write the number alone, without a unit'
  return undefined
}
