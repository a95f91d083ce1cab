/** From the process's environment to one flat, typed record: files read, numbers made, defaults filled in. */

import { Value } from '@sinclair/typebox/value'
import type { Issues } from './issues.ts'
import { findMisspelt, namesFor } from './misspelt.ts'
import type { ReadFile, Variables } from './model.ts'
import { notesOf } from './notes.ts'
import { Environment, type SettingName } from './schema.ts'
import { certainSlip, guessable, IS_PATH, likelySlip, looksLikePath } from './slips.ts'

type Given = Partial<Record<SettingName, string | number>>

const NAMES = Object.keys(Environment.properties) as SettingName[]

/** Reports what a flat schema can see. Later readers may go on: a faulty value is replaced by its default or by ''. */
export function loadEnvironment(env: Variables, readFile: ReadFile, issues: Issues): Environment {
  const given = gather(env, readFile, issues)
  for (const misspelt of findMisspelt(env)) {
    const missing = namesFor(misspelt).filter((name) => given[name as SettingName] === undefined)
    for (const name of missing) issues.remark(name, `${misspelt.name} is set: is that meant?`)
  }
  for (const name of faultyNames(withDefaults(given))) replaceFaulty(name, given, issues)
  return withDefaults(given) as Environment
}

function replaceFaulty(name: SettingName, given: Given, issues: Issues): void {
  if (given[name] === undefined) {
    issues.add(name, missing(name))
    issues.settle(name)
    given[name] = ''
  } else {
    issues.add(name, notesOf(Environment.properties[name]).rule)
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
export function readOrReport(name: string, path: string, readFile: ReadFile, issues: Issues): string | undefined {
  try {
    return readFile(path)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const named = /^E[A-Z]+$/.test(code) ? ` (${code})${FILE_TROUBLE[code] ?? ''}` : ''
    issues.add(name, `names a file that cannot be read${named}`)
    return undefined
  }
}

function gather(env: Variables, readFile: ReadFile, issues: Issues): Given {
  const given: Given = {}
  for (const name of NAMES) {
    const { secret, file } = notesOf(Environment.properties[name])
    const direct = env[name] || undefined
    const path = secret === true || file === true ? env[`${name}_FILE`] || undefined : undefined
    if (direct !== undefined && path !== undefined) issues.add(name, `and ${name}_FILE are both given; keep one`)
    const fromPath = () => (path === undefined ? undefined : fromFile(name, path, readFile, issues))
    const value = direct === undefined ? fromPath() : fromVariable(name, direct, readFile, issues)
    if (value !== undefined) given[name] = toNumber(name, value)
  }
  return given
}

/** A value that cannot be used leaves '' behind: the setting counts as given, and nothing more is said of it. */
function fromVariable(name: SettingName, value: string, readFile: ReadFile, issues: Issues): string {
  const schema = Environment.properties[name]
  const { secret, file, free } = notesOf(schema)
  const isFile = (secret || file) && looksLikePath(value) && isThere(value, readFile)
  const guessed = isFile ? IS_PATH : free && guessable(value)
  const problem = certainSlip(value) ?? (guessed === IS_PATH ? `${IS_PATH}: name it ${name}_FILE` : guessed)
  if (problem !== undefined) return refuse(name, name, problem, issues)
  issues.remark(name, likelySlip(value, schema, name))
  return value
}

/** As fromVariable. One line break at the end is left out. */
function fromFile(name: SettingName, path: string, readFile: ReadFile, issues: Issues): string {
  const content = readOrReport(`${name}_FILE`, path, readFile, issues)
  const value = content?.replace(/\r?\n$/, '') ?? ''
  const schema = Environment.properties[name]
  const guessed = notesOf(schema).free && guessable(value)
  const problem = value === '' ? 'names an empty file' : (certainSlip(value) ?? guessed)
  if (problem === undefined) {
    issues.remark(name, likelySlip(value, schema))
    return value
  }
  const told = value === '' ? problem : `names a file whose content ${problem}`
  return refuse(name, `${name}_FILE`, content === undefined ? undefined : told, issues)
}

function refuse(name: SettingName, told: string, problem: string | undefined, issues: Issues): string {
  if (problem !== undefined) issues.add(told, problem)
  issues.settle(name)
  return ''
}

/** A secret may look like a path; one that is a file is none. */
function isThere(path: string, readFile: ReadFile): boolean {
  try {
    readFile(path)
    return true
  } catch (error) {
    return ['EISDIR', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')
  }
}

/** Plain digits only. A library's coercion would also take '0x10', and make 0, often "no limit", of a blank. */
function toNumber(name: SettingName, value: string): string | number {
  return Environment.properties[name].type === 'integer' && /^-?\d+$/.test(value) ? Number(value) : value
}

const withDefaults = (given: Given): unknown => Value.Default(Environment, { ...given })

/** Each faulty setting once, however many of its rules it breaks. The library's own messages are not used. */
const faultyNames = (settings: unknown): Set<SettingName> =>
  new Set([...Value.Errors(Environment, settings)].map(({ path }) => path.slice(1) as SettingName))
