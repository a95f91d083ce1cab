/**
 * `npm start`: server.ts, small at rest. Its types are stripped once and the result is kept, since the compiler that
 * strips them would otherwise stay in memory (some 35 MB) as long as the service runs; and what only the start needed
 * is given back. Where nothing can be kept, or `gc` is not exposed, it runs all the same.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { enableCompileCache, flushCompileCache, getCompileCacheDir } from 'node:module'
import { join } from 'node:path'

const WARMING = 'WXGATE_WARMING'
const root = import.meta.dirname

/** All that runs, from the root. */
function sourceFiles() {
  const under = (folder) => readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name))
  const all = ['app.ts', 'server.ts', ...['lib', 'plugins', 'routes'].flatMap(under)]
  return all.filter((name) => name.endsWith('.ts'))
}

function fingerprint(files) {
  const digest = createHash('sha256')
  for (const file of files) digest.update(`${file}\0`).update(readFileSync(join(root, file)))
  return digest.digest('hex')
}

/** Says which sources the folder keeps stripped. It is one of this version of Node.js and of these options alone. */
const noteIn = (folder) => join(folder, 'wxgate-sources')

function isKept(folder) {
  try {
    return readFileSync(noteIn(folder), 'utf8') === fingerprint(sourceFiles())
  } catch {
    return false
  }
}

async function keep(folder) {
  const files = sourceFiles()
  const found = fingerprint(files)
  for (const file of files) await import(join(root, file))
  flushCompileCache()
  writeFileSync(noteIn(folder), found)
}

/** Strips in a process of its own, which takes the compiler along when it ends. A debugger would hold that one up. */
function keepElsewhere() {
  const options = process.execArgv.filter((option) => !option.startsWith('--inspect'))
  spawnSync(process.execPath, [...options, import.meta.filename], { env: { ...process.env, [WARMING]: 'yes' } })
}

/** NODE_COMPILE_CACHE, where it is set, says another place. */
enableCompileCache({ directory: join(root, 'node_modules/.cache/wxgate'), portable: true })
/** undefined where nothing can be written. */
const folder = getCompileCacheDir()

if (process.env[WARMING] === undefined) {
  if (folder !== undefined && !isKept(folder)) keepElsewhere()
  const { serve } = await import('./server.ts')
  await serve(globalThis.gc && (() => globalThis.gc({ type: 'major', execution: 'sync', flavor: 'last-resort' })))
} else if (folder !== undefined) await keep(folder)
