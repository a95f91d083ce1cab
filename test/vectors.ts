/** The vectors of the protocol pages, by the name of their file. */
import { readFileSync } from 'node:fs'

// biome-ignore lint/suspicious/noExplicitAny: JSON of many shapes, read by its fields where nobody says which
export function vectors<T = any>(name: string): T {
  return JSON.parse(readFileSync(new URL(`./vectors/${name}.json`, import.meta.url), 'utf8')) as T
}
