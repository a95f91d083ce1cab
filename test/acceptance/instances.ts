/** Gateways as they run in production: `node server.ts`, each a process of its own, which a test may stop or kill. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { request } from 'undici'
import { endChild, hasEnded, spawnBound } from '../../tools/child.ts'
import { freePort } from '../../tools/free-port.ts'
import type { Environment } from '../helper.ts'

const SERVER = join(import.meta.dirname, '../../server.ts')
const START_PATIENCE_MS = 60_000

export interface Instance {
  origin: string
  process: ChildProcess
  /** POSTs a body as JSON; without one it is a GET. */
  call(path: string, body?: object, token?: string): Promise<{ status: number; json: Record<string, string> }>
  /** Resolves with the exit code. */
  stop(signal: NodeJS.Signals): Promise<number | null>
}

/**
 * Resolves once it is ready; it ends with the test. Nothing of our own environment reaches it but PATH. It listens on a
 * free port where `settings` name none.
 */
export async function startInstance(t: Test, settings: Environment, server = SERVER): Promise<Instance> {
  const port = settings.PORT ?? (await freePort())
  const origin = `http://127.0.0.1:${port}`
  const all = Object.entries({ PATH: process.env.PATH, PORT: String(port), ...settings })
  const env = Object.fromEntries(all.filter(([, value]) => value))
  const child = spawnBound(process.execPath, [server], { stdio: ['ignore', 'ignore', 'inherit'], env })
  t.teardown(() => endChild(child, 'SIGKILL'))
  await ready(child, origin)
  return {
    origin,
    process: child,
    async call(path, body, token) {
      const answer = await request(`${origin}${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers: {
          ...(body && { 'content-type': 'application/json' }),
          ...(token && { authorization: `Bearer ${token}` })
        },
        body: body === undefined ? null : JSON.stringify(body)
      })
      const text = await answer.body.text()
      return { status: answer.statusCode, json: text === '' ? {} : JSON.parse(text) }
    },
    async stop(signal) {
      child.ref()
      const ended = once(child, 'exit')
      child.kill(signal)
      const [code] = await ended
      return code
    }
  }
}

async function ready(child: ChildProcess, origin: string): Promise<void> {
  const giveUpAt = Date.now() + START_PATIENCE_MS
  while (!hasEnded(child) && Date.now() < giveUpAt) {
    const answer = await request(`${origin}/readyz`).catch(() => undefined)
    await answer?.body.dump()
    if (answer?.statusCode === 200) return
    await pause(20)
  }
  throw new Error(`no gateway at ${origin}`)
}
