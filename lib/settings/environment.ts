/** From the process's environment to one flat, typed record: files read, numbers made, defaults filled in. */

import envSchema, { type EnvSchemaOpt } from 'env-schema'
import type { Faults } from './faults.ts'
import { NOTE_WORDS, notesOf } from './notes.ts'
import { Environment, type SettingName } from './schema.ts'

/** Reads a text file; throws as `node:fs` does. */
export type ReadFile = (path: string) => string
export type Variables = Readonly<Record<string, string | undefined>>
type Given = Partial<Record<SettingName, string | number>>

const NAMES = Object.keys(Environment.properties) as SettingName[]

/** Reports what a flat schema can see. Later readers may go on: a faulty value is replaced by its default or by ''. */
export function loadEnvironment(env: Variables, readFile: ReadFile, faults: Faults): Environment {
  const given = gather(env, readFile, faults)
  try {
    return validate(given)
  } catch (error) {
    for (const name of faultyNames(error)) replaceFaulty(name, given, faults)
    return validate(given)
  }
}

function replaceFaulty(name: SettingName, given: Given, faults: Faults): void {
  if (given[name] === undefined) {
    faults.add(name, missing(name))
    faults.settle(name)
    given[name] = ''
  } else {
    faults.add(name, notesOf(Environment.properties[name]).rule)
    delete given[name]
  }
}

/** Says that a setting is missing, and which other one would do. */
export function missing(name: string): string {
  const { alternative } = notesOf(Environment.properties[name as SettingName])
  return alternative === undefined ? 'is required' : `is required, or ${alternative} in its place`
}

/** Reads a file or reports why not: the system's code alone, as its message quotes the path. */
export function readOrReport(name: string, path: string, readFile: ReadFile, faults: Faults): string | undefined {
  try {
    return readFile(path)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    faults.add(name, `names a file that cannot be read${/^E[A-Z]+$/.test(code) ? ` (${code})` : ''}`)
    return undefined
  }
}

function gather(env: Variables, readFile: ReadFile, faults: Faults): Given {
  const given: Given = {}
  for (const name of NAMES) {
    const { secret, file } = notesOf(Environment.properties[name])
    const direct = env[name] || undefined
    const path = secret === true || file === true ? env[`${name}_FILE`] || undefined : undefined
    if (direct !== undefined && path !== undefined) faults.add(name, `and ${name}_FILE are both given; keep one`)
    const value = direct ?? (path === undefined ? undefined : fromFile(name, path, readFile, faults))
    if (value !== undefined) given[name] = toNumber(name, value)
  }
  return given
}

/** A file that cannot be used leaves '' behind: the setting counts as given, and nothing more is said of it. */
function fromFile(name: SettingName, path: string, readFile: ReadFile, faults: Faults): string {
  const content = readOrReport(`${name}_FILE`, path, readFile, faults)
  const value = content?.replace(/\r?\n$/, '') ?? ''
  if (content !== undefined && value === '') faults.add(`${name}_FILE`, 'names an empty file')
  if (value === '') faults.settle(name)
  return value
}

/** Plain digits only. Ajv's own coercion would also take '0x10' and make 0, often "no limit", of a blank. */
function toNumber(name: SettingName, value: string): string | number {
  return Environment.properties[name].type === 'integer' && /^-?\d+$/.test(value) ? Number(value) : value
}

function validate(data: Given): Environment {
  return envSchema<Environment>({ schema: Environment, data: { ...data }, env: false, dotenv: false, ajv: judge })
}

/** Made at the first use and kept: compiling the schema takes 15 ms, which tests would pay for every server they build. */
let judge: NonNullable<EnvSchemaOpt['ajv']> = {
  customOptions: (ajv) => {
    ajv.opts.coerceTypes = false
    judge = ajv.addVocabulary([...NOTE_WORDS])
    return judge
  }
}

interface Refusal {
  errors: ReadonlyArray<{ instancePath: string; params: { missingProperty?: SettingName } }>
}

/** Each faulty setting once, however many of its rules it breaks. Ajv's own messages are not used. */
function faultyNames(error: unknown): Set<SettingName> {
  const { errors } = error as Refusal
  return new Set(
    errors.map(({ instancePath, params }) => params.missingProperty ?? (instancePath.slice(1) as SettingName))
  )
}
