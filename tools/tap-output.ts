// Reads the TAP that a run left behind: its totals, and what failed.
import { readFileSync } from 'node:fs'

const INDENT = /^ */

/** tap's own last word, `# { total: 8, pass: 7, fail: 1 }`; none when it did not get that far. */
export function totals(tap: string): string | undefined {
  return tap.match(/^# \{ total: .*\}$/gm)?.at(-1)
}

export function readOutput(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** Each failed assertion with its explanation, and each failed test file that has none, such as one that crashed. */
export function failures(tap: string): string[] {
  const lines = tap.split('\n')
  const found: string[] = []
  let path: string[] = []
  let explained = false
  for (const [at, line] of lines.entries()) {
    const depth = (INDENT.exec(line)?.[0].length ?? 0) / 4
    const name = /^ *# Subtest: (.*)/.exec(line)?.[1]
    if (name !== undefined) path = [...path.slice(0, depth), name]
    if (name !== undefined && depth === 0) explained = false
    if (!/^ *not ok /.test(line)) continue

    const isParent = path[depth] !== undefined && line.includes(` - ${path[depth]}`)
    if (isParent && (depth > 0 || explained)) continue
    explained = true
    found.push([path.slice(0, depth).join(' > '), line.trim(), ...explanation(lines, at + 1)].join('\n'))
  }
  return found
}

/** The YAML block that begins at line `start`, if one does. */
function explanation(lines: string[], start: number): string[] {
  if (lines[start]?.trim() !== '---') return []
  const indent = lines[start].indexOf('-')
  const end = lines.findIndex((line, at) => at > start && line.trim() === '...')
  return lines.slice(start + 1, end).map((line) => `  ${line.slice(indent)}`)
}
