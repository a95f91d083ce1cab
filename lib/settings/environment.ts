/** From the process's environment to one flat, typed record: files read, numbers made, defaults filled in. */

import envSchema, { type EnvSchemaOpt } from 'env-schema'
import type { Faults } from './faults.ts'
import { findMisspelt, namesFor } from './misspelt.ts'
import { NOTE_WORDS, notesOf } from './notes.ts'
import { Environment, type SettingName } from './schema.ts'
import { certainSlip, isNoSecret, likelySlip, looksLikePath } from './slips.ts'

/** Reads a text file; throws as `node:fs` does. */
export type ReadFile = (path: string) => string
export type Variables = Readonly<Record<string, string | undefined>>
/** Of JWT_SECRET and of each of INTERNAL_API_KEYS. */
const SHORTEST_SECRET = 32

type Given = Partial<Record<SettingName, string | number>>

const NAMES = Object.keys(Environment.properties) as SettingName[]

/** Reports what a flat schema can see. Later readers may go on: a faulty value is replaced by its default or by ''. */
export function loadEnvironment(env: Variables, readFile: ReadFile, faults: Faults): Environment {
  const given = gather(env, readFile, faults)
  for (const misspelt of findMisspelt(env)) {
    const missing = namesFor(misspelt).filter((name) => given[name as SettingName] === undefined)
    for (const name of missing) faults.remark(name, `${misspelt.name} is set: is that meant?`)
  }
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

const FILE_TROUBLE: Readonly<Record<string, string>> = {
  EISDIR: ': it is a folder',
  EACCES: ': this user may not read it'
}

/** Reads a file or reports why not: the system's code alone, as its message quotes the path. */
export function readOrReport(name: string, path: string, readFile: ReadFile, faults: Faults): string | undefined {
  try {
    return readFile(path)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const named = /^E[A-Z]+$/.test(code) ? ` (${code})${FILE_TROUBLE[code] ?? ''}` : ''
    faults.add(name, `names a file that cannot be read${named}`)
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
    const fromPath = () => (path === undefined ? undefined : fromFile(name, path, readFile, faults))
    const value = direct === undefined ? fromPath() : fromVariable(name, direct, readFile, faults)
    if (value !== undefined) given[name] = toNumber(name, value)
  }
  return given
}

/** A value that cannot be used leaves '' behind: the setting counts as given, and nothing more is said of it. */
function fromVariable(name: SettingName, value: string, readFile: ReadFile, faults: Faults): string {
  const schema = Environment.properties[name]
  const { secret, file } = notesOf(schema)
  const isPath = (secret || file) && looksLikePath(value) && (isTakenForSecret(value) || isThere(value, readFile))
  const problem = certainSlip(value) ?? (isPath ? `is the path of a file: name it ${name}_FILE` : undefined)
  if (problem !== undefined) return refuse(name, name, problem, faults)
  faults.remark(name, likelySlip(value, schema, name))
  return value
}

/** As fromVariable. One line break at the end is left out. */
function fromFile(name: SettingName, path: string, readFile: ReadFile, faults: Faults): string {
  const content = readOrReport(`${name}_FILE`, path, readFile, faults)
  const value = content?.replace(/\r?\n$/, '') ?? ''
  const problem = value === '' ? 'names an empty file' : certainSlip(value)
  if (problem === undefined) {
    faults.remark(name, likelySlip(value, Environment.properties[name]))
    return value
  }
  const told = value === '' ? problem : `names a file whose content ${problem}`
  return refuse(name, `${name}_FILE`, content === undefined ? undefined : told, faults)
}

function refuse(name: SettingName, told: string, problem: string | undefined, faults: Faults): string {
  if (problem !== undefined) faults.add(told, problem)
  faults.settle(name)
  return ''
}

/** A path that is long enough for a secret, and would be a key that anybody can guess. Shorter ones no rule takes. */
const isTakenForSecret = (path: string): boolean => path.length >= SHORTEST_SECRET && isNoSecret(path)

/** A secret may look like a path; one that is a file is none. */
function isThere(path: string, readFile: ReadFile): boolean {
  try {
    readFile(path)
    return true
  } catch (error) {
    return ['EISDIR', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')
  }
}

/** Plain digits only. Ajv's own coercion would also take '0x10' and make 0, often "no limit", of a blank. */
function toNumber(name: SettingName, value: string): string | number {
  return Environment.properties[name].type === 'integer' && /^-?\d+$/.test(value) ? Number(value) : value
}

function validate(data: Given): Environment {
  return envSchema<Environment>({ schema: Environment, data: { ...data }, env: false, dotenv: false, ajv: judge })
}

/**
 * Made at the first use and kept: compiling the schema takes 15 ms, which tests would pay for every server they build.
 */
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
