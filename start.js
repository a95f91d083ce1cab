/**
 * `npm start`: server.ts, small at rest. Its types are stripped once and the result is kept, since the compiler that strips
 * them would otherwise stay in memory (some 35 MB) as long as the service runs; and what only the start needed is given back.
 * Where nothing can be kept, or `gc` is not exposed, it runs all the same.
 */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { enableCompileCache, flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const WARMING = 'WXGATE_WARMING'
/** Until what the start left behind can be collected; a collection at once finds it still in use. */
const SETTLE_MS = 200
const root = import.meta.dirname

/** NODE_COMPILE_CACHE, where it is set, says another place. */
const { directory } = enableCompileCache({ directory: join(root, 'node_modules/.cache/wxgate'), portable: true })

if (process.env[WARMING] === undefined) {
  if (directory !== undefined) {
    spawnSync(process.execPath, [import.meta.filename], { env: { ...process.env, [WARMING]: 'yes' } })
  }
  const { serve } = await import('./server.ts')
  await serve(async () => {
    await pause(SETTLE_MS)
    globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  })
} else {
  for (const file of globSync(['server.ts', 'routes/**/*.ts'], { cwd: root })) await import(join(root, file))
  flushCompileCache()
}
