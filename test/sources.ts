/** The sources as text: which files there are, what they import, and which names they export. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'

const ROOT = join(import.meta.dirname, '..')

/** Every .ts file below a folder, as a path from the root of the project. */
export const filesIn = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.includes('node_modules'))
    .map((file) => join(folder, file))
    .sort()

export const textOf = (file: string): string => readFileSync(join(ROOT, file), 'utf8')

const IMPORT = /^(?:import|export) [^;]*?from '([^']+)'|^import '([^']+)'|import\('([^']+)'\)/gms

/** Every import of a file, types included: a path of this project from its root, or the name of a package. */
export function importsOf(file: string): string[] {
  return [...textOf(file).matchAll(IMPORT)].map(([, from = '', bare = '', dynamic = '']) => {
    const specifier = from || bare || dynamic
    return specifier.startsWith('.') ? relative(ROOT, normalize(join(ROOT, dirname(file), specifier))) : specifier
  })
}

const DECLARED = /^export (?:declare |abstract |async )*(?:function\*?|const|let|class|interface|type|enum) (\w+)/gm
const LISTED = /^export (?:type )?\{([^}]*)\}/gm

/** The names that a file exports, re-exports included; a schema and its type are one. */
export function exportsOf(file: string): string[] {
  const text = textOf(file)
  const declared = [...text.matchAll(DECLARED)].map(([, name = '']) => name)
  const listed = [...text.matchAll(LISTED)].flatMap(([, names = '']) => names.split(','))
  const named = listed
    .map((each) =>
      each
        .trim()
        .replace(/^type /, '')
        .replace(/^.* as /, '')
    )
    .filter((each) => each)
  return [...new Set([...declared, ...named])]
}

/** Groups of nodes that reach each other; what reaches nobody back is in none. */
export function circlesOf(arrows: ReadonlyMap<string, ReadonlySet<string>>): string[][] {
  const reach = new Map([...arrows.keys()].map((node) => [node, reachable(arrows, node)]))
  const circles = [...arrows.keys()].flatMap((node) => {
    const circle = [...(reach.get(node) ?? [])].filter((other) => reach.get(other)?.has(node)).sort()
    return circle[0] === node ? [circle] : []
  })
  return circles.filter((circle) => circle.length > 1)
}

function reachable(arrows: ReadonlyMap<string, ReadonlySet<string>>, from: string): Set<string> {
  const found = new Set<string>()
  const open = [from]
  for (let node = open.pop(); node !== undefined; node = open.pop())
    for (const next of arrows.get(node) ?? [])
      if (!found.has(next)) {
        found.add(next)
        open.push(next)
      }
  return found
}
