/** The processes of a run. None of them outlives it, and each can be asked. */
import { type ChildProcess, execFileSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { endChild, hasEnded, spawnBound } from '../tools/child.ts'
import { freePort } from '../tools/free-port.ts'
import { startedOn } from './pin.ts'
import { ask } from './rpc.ts'

export const ROOT = join(import.meta.dirname, '..')

const READY_MS = 60_000
/** Between two looks whether it can serve. */
const LOOK_MS = 5
const LOG_BYTES_KEPT = '4000'
const PROBE = join(import.meta.dirname, 'probe.ts')

export interface MeasuredServer {
  port: number
  /** From the start of its process until it could serve. */
  readyMs: number
  /** User and system time of all threads since the start. */
  cpuMicroseconds(): Promise<number>
  rssBytes(): Promise<number>
  startProfile(): Promise<void>
  stopProfile(file: string): Promise<void>
  stop(): Promise<void>
  /** The end of its log, once it has stopped. */
  lastWords: Promise<string>
}

export interface ServerOptions {
  /** Of node; paths are relative to the project. */
  args: string[]
  env: NodeJS.ProcessEnv
  /** Answers 200 once the server can serve. */
  readyPath: string
  core: number | undefined
  /** For the pipe that takes its log. */
  folder: string
}

/** Starts node with its log going where production's goes: into a pipe that another process reads. */
export async function startServer({ args, env, readyPath, core, folder }: ServerOptions): Promise<MeasuredServer> {
  const port = await freePort()
  const log = openLogPipe(join(folder, `log-${port}`))
  const startedAt = performance.now()
  const [command = '', ...words] = startedOn(core, [process.execPath, '--import', PROBE, ...args])
  const child = spawnBound(command, words, {
    cwd: ROOT,
    env: { PATH: process.env.PATH, ...env, PORT: String(port) },
    stdio: ['ignore', log.end, 'inherit', 'ipc']
  })
  closeSync(log.end)
  try {
    await answers(child, `http://127.0.0.1:${port}${readyPath}`)
  } catch (error) {
    await endChild(child, 'SIGKILL')
    throw new Error(`node ${args.join(' ')} did not start:\n${await log.lastWords}`, { cause: error })
  }
  const readyMs = performance.now() - startedAt
  return {
    port,
    readyMs,
    cpuMicroseconds: () => ask(child, 'cpuMicroseconds'),
    rssBytes: () => ask(child, 'rssBytes'),
    startProfile: () => ask(child, 'startProfile'),
    stopProfile: (file) => ask(child, 'stopProfile', file),
    stop: () => endChild(child),
    lastWords: log.lastWords
  }
}

/** A process of ours that is not measured. */
export function startHelper(script: string): ChildProcess {
  return spawnBound(process.execPath, [script], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
}

/**
 * A named pipe, because a pipe of spawn() is a socket. `tail` reads it and keeps the last lines, for when something
 * fails.
 */
function openLogPipe(path: string): { end: number; lastWords: Promise<string> } {
  execFileSync('mkfifo', [path])
  const reader = spawnBound('tail', ['-c', LOG_BYTES_KEPT, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const lastWords = reader.stdout === null ? Promise.resolve('') : text(reader.stdout)
  return { end: openSync(path, 'w'), lastWords }
}

async function answers(child: ChildProcess, url: string): Promise<void> {
  const deadline = Date.now() + READY_MS
  while (!hasEnded(child) && Date.now() < deadline) {
    const response = await fetch(url).catch(() => undefined)
    await response?.arrayBuffer()
    if (response?.status === 200) return
    await sleep(LOOK_MS)
  }
  throw new Error(hasEnded(child) ? 'it ended' : `no 200 from ${url}`)
}
