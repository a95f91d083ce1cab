/**
 * Whether the bytes written to a connection still leave it. Node.js knows only its own buffers, and the system takes up
 * to 4 MB at once: at 1 MB/s that is seconds in which an upload moves and Node.js sees nothing.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'

const portOf = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0')

/**
 * Bytes that the other side has not confirmed; where it is on this machine, such as a proxy beside us, also those that
 * it has not read. Undefined where the system does not say; Linux does (proc_pid_net(5)).
 */
export async function undeliveredBytes({ localPort, remotePort, remoteFamily }: Socket): Promise<number | undefined> {
  if (localPort === undefined || remotePort === undefined) return undefined
  const table = await readFile(`/proc/self/net/${remoteFamily === 'IPv6' ? 'tcp6' : 'tcp'}`, 'latin1').catch(() => '')
  const [ours, theirs] = [portOf(localPort), portOf(remotePort)]
  const sending = queueIn(table, `:${ours} [0-9A-F]+:${theirs} [0-9A-F]{2} ([0-9A-F]+):`)
  const unread = queueIn(table, `:${theirs} [0-9A-F]+:${ours} [0-9A-F]{2} [0-9A-F]+:([0-9A-F]+)`)
  return sending === undefined ? undefined : sending + (unread ?? 0)
}

function queueIn(table: string, row: string): number | undefined {
  const size = new RegExp(row).exec(table)?.[1]
  return size === undefined ? undefined : Number.parseInt(size, 16)
}

/** Calls `onMoved` when, between two looks, something left. Returns what ends it. */
export function watchSending(socket: Socket, everyMs: number, onMoved: () => void): () => void {
  let last: number | undefined
  const timer = setInterval(async () => {
    const left = await undeliveredBytes(socket)
    if (left !== undefined && last !== undefined && left !== last) onMoved()
    last = left
  }, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}

const SEND_HEADERS = 'undici:client:sendHeaders'

/**
 * Call it when undici starts a request: passes on the connection that the request is written to. undici publishes it
 * only on a diagnostics channel, in the same turn. `use` is not called where the request ends before it is written.
 */
export function onceConnectionIsKnown(use: (socket: Socket) => void): void {
  const onHeaders = (message: unknown) => {
    unsubscribe(SEND_HEADERS, onHeaders)
    use((message as { socket: Socket }).socket)
  }
  subscribe(SEND_HEADERS, onHeaders)
  queueMicrotask(() => unsubscribe(SEND_HEADERS, onHeaders))
}
