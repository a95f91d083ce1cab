/** The pages made from the schema, so that they cannot fall behind it: `.env.example` and `docs/settings.md`. */

import { OptionalKind, type TObject, type TSchema } from '@sinclair/typebox'
import { notesOf } from './notes.ts'
import { SECTIONS } from './schema.ts'
import { AppEntry, MerchantEntry } from './wechat-schema.ts'

const EXAMPLE_HEAD = `# Settings of wxgate. Made from lib/settings/schema.ts by: node tools/generate-settings.ts
# Copy this to .env and fill in at least what stands here without #. Empty counts as unset.
# Every secret (and PEM) NAME may come as NAME_FILE instead: the path of a file that holds it.
`

const TABLE_HEAD = [
  '# Settings',
  '',
  '<!-- Made from lib/settings/schema.ts by: node tools/generate-settings.ts -->',
  '',
  'Settings come from the environment alone and are checked together at start-up: ' +
    'every fault is named, in one line each,',
  'and no value is ever shown. Empty counts as unset. ' +
    'Every secret `NAME`, and every PEM, may come as `NAME_FILE` instead:',
  'the path of a file that holds it (one line break at its end is left out). Lists are separated by commas.',
  'Line breaks in a PEM may be written as `\\n`. ' +
    'Values stand without quotes and carriage returns: those stop the start.',
  'A variable whose name is nearly that of a setting gets a warning that says which is meant.',
  ''
].join('\n')

const CONFIG_HEAD = `## The file of WECHAT_CONFIG_FILE

\`\`\`json
{ "apps": [{ "appid": "…", "secret": "…" }], "merchants": [{ "mchid": "…", "apiV3Key": "…", "appids": ["…"] }] }
\`\`\`

At least one app; merchants may be left out. Unknown fields are faults.
`

/** The text of `.env.example`: optional settings commented out with their defaults, required ones empty. */
export function settingsExample(): string {
  const sections = SECTIONS.map(({ title, settings }) => {
    const entries = Object.entries(settings).map(([name, schema]) => exampleEntry(name, schema))
    return `# ---- ${title} ----\n\n${entries.join('\n')}`
  })
  return [EXAMPLE_HEAD, ...sections].join('\n')
}

/** The text of `docs/settings.md`: one table for each concern, then the fields of the configuration file. */
export function settingsTable(): string {
  const sections = SECTIONS.map(({ title, settings }) => {
    const rows = Object.entries(settings).map(([name, schema]) => settingRow(name, schema))
    return `## ${title}\n\n${table(['name', 'type', 'default', 'unit', 'secret', 'meaning'], rows)}`
  })
  const file = [
    CONFIG_HEAD,
    fieldTable('Fields of an app', AppEntry),
    fieldTable('Fields of apiSecurity', AppEntry.properties.apiSecurity),
    fieldTable('Fields of a merchant', MerchantEntry)
  ]
  return [TABLE_HEAD, ...sections, ...file].join('\n')
}

function exampleEntry(name: string, schema: TSchema): string {
  const { description, unit, make } = notesOf(schema)
  const lines = [
    description,
    sentence(need(schema)),
    ruleSentence(schema),
    unit && `In ${unit}.`,
    make && `Make one: ${make}`
  ]
  const comment = lines.filter((line) => line).map((line) => `# ${line}\n`)
  const assignment = isAskedFor(schema) ? `${name}=` : `#${name}=${schema.default ?? ''}`
  return `${comment.join('')}${assignment}\n`
}

function settingRow(name: string, schema: TSchema): string[] {
  const { description, unit = '', secret, make } = notesOf(schema)
  const fallback = schema.default === undefined ? need(schema) : code(schema.default)
  const meaning = [description, ruleSentence(schema), make && `Make one: ${code(make)}`]
    .filter((part) => part)
    .join(' ')
  return [code(name), typeOf(schema), fallback, unit, secret ? 'yes' : '', meaning]
}

function fieldTable(title: string, { properties }: TObject): string {
  const rows = Object.entries(properties).map(([name, schema]) => {
    const { description, secret } = notesOf(schema)
    const meaning = `${description} ${ruleSentence(schema)}`
    return [code(name), OptionalKind in schema ? '' : 'yes', secret ? 'yes' : '', meaning]
  })
  return `### ${title}\n\n${table(['name', 'required', 'secret', 'meaning'], rows)}`
}

/** Shown empty in the example: there is no default, and the start needs it or its alternative. */
function isAskedFor(schema: TSchema): boolean {
  return notesOf(schema).alternative !== undefined || (schema.default === undefined && !(OptionalKind in schema))
}

function need(schema: TSchema): string {
  const { alternative } = notesOf(schema)
  if (!isAskedFor(schema)) return ''
  return alternative === undefined ? 'required' : `required, or ${alternative}`
}

function ruleSentence(schema: TSchema): string {
  const { rule, kind } = notesOf(schema)
  return sentence(kind === 'list' ? `each entry ${rule}` : rule)
}

function sentence(text: string): string {
  return text === '' ? '' : `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

function typeOf(schema: TSchema): string {
  if (schema.enum !== undefined) return schema.enum.map(code).join(', ')
  return notesOf(schema).kind ?? (schema.type === 'integer' ? 'number' : 'text')
}

function code(text: unknown): string {
  return `\`${text}\``
}

function table(head: string[], rows: string[][]): string {
  const lines = [head, head.map(() => '---'), ...rows]
  return lines.map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`).join('')
}
