/** Reading values by their rules: one text or a comma list, issues worded by the setting's schema. */

import type { Issues } from './issues.ts'
import { notesOf } from './notes.ts'
import { Environment, type SettingName } from './schema.ts'

type Read<T> = (text: string) => T | undefined

/** Answers '' after a fault; the settings are never handed out then. */
export function readOne(issues: Issues, name: SettingName, text: string, read: Read<string>): string {
  const value = read(text)
  if (value === undefined) issues.add(name, ruleOf(name))
  return value ?? ''
}

/** A comma list, blanks around its entries ignored; leaves out the entries that break the rule. */
export function readEach<T>(issues: Issues, name: SettingName, text: string | undefined, read: Read<T>): T[] {
  if (text === undefined) return []
  return text.split(',').flatMap((entry, index) => {
    const value = read(entry.trim())
    if (value === undefined) issues.add(name, `entry ${index + 1} ${ruleOf(name)}`)
    return value === undefined ? [] : [value]
  })
}

/** Reports what may stand in a list only once. */
export function checkDistinct(issues: Issues, name: SettingName, keys: readonly string[], what: string): void {
  if (new Set(keys).size < keys.length) issues.add(name, `has the same ${what} twice`)
}

function ruleOf(name: SettingName): string {
  return notesOf(Environment.properties[name]).rule
}
