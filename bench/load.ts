/**
 * The clients: keep-alive connections, and on each one request after the other. They are written on sockets, so that
 * they cost less than what they measure.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

const BUFFER_BYTES = 64 * 1024
/** Of the gateway a connection that never asked is closed after 30 s. */
const IDLE_MS = 20_000
const HEAD_END = '\r\n\r\n'

/** `body` is overwritten by the next answer: copy what is to be kept. */
export interface Answer {
  status: number
  body: Buffer
}

export type Judge = (answer: Answer) => void

/** `ms` since the moment of the request, whether or not a connection was free then. */
export type OnTimedAnswer = (answer: Answer, ms: number) => void

export interface Load {
  /** Sends every request once. Rejects with what `judge` throws, and when a connection ends. */
  send(requests: readonly Buffer[], judge: Judge): Promise<void>
  /**
   * Each request starts at its own time, even if others are not answered yet. If every connection is busy, it waits for
   * one.
   */
  sendAtRate(requests: readonly Buffer[], perSecond: number, onAnswer: OnTimedAnswer): Promise<void>
  close(): void
}

interface Lane {
  socket: Socket
  /** The beginning of an answer that came in pieces. */
  begun: Buffer
  onAnswer: Judge
  onFailure: (error: Error) => void
}

export async function openLoad(port: number, connections = 64): Promise<Load> {
  const lanes = await Promise.all(Array.from({ length: connections }, () => openLane(port)))
  let usedAt = performance.now()

  /** Runs `work` on connections that no server has closed for being idle, or is about to. */
  async function use(work: () => Promise<void>): Promise<void> {
    if (performance.now() - usedAt > IDLE_MS) await reopen(lanes, port)
    await work()
    usedAt = performance.now()
  }

  return {
    send: (requests, judge) => use(() => sendAll(lanes, requests, judge)),
    sendAtRate: (requests, perSecond, onAnswer) => use(() => sendAllAtRate(lanes, requests, perSecond, onAnswer)),
    close: () => lanes.forEach(({ socket }) => void socket.destroy())
  }
}

async function reopen(lanes: Lane[], port: number): Promise<void> {
  for (const { socket } of lanes) socket.destroy()
  lanes.splice(0, lanes.length, ...(await Promise.all(lanes.map(() => openLane(port)))))
}

async function openLane(port: number): Promise<Lane> {
  const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  const onread = { buffer, callback: (size: number) => receive(lane, buffer.subarray(0, size)) }
  const socket = connect({ host: '127.0.0.1', port, noDelay: true, onread })
  const lane: Lane = { socket, begun: Buffer.alloc(0), onAnswer: () => {}, onFailure: () => {} }
  socket.on('error', (error) => lane.onFailure(error))
  socket.on('close', () => lane.onFailure(new Error('the server closed a connection')))
  await once(socket, 'connect')
  return lane
}

function sendAll(lanes: Lane[], requests: readonly Buffer[], judge: Judge): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0
    let answered = 0
    const feed = ({ socket }: Lane) => {
      const request = requests[next++]
      if (request !== undefined) socket.write(request)
    }
    for (const lane of lanes) {
      lane.onFailure = reject
      lane.onAnswer = (answer) => {
        judge(answer)
        if (++answered === requests.length) resolve()
        else feed(lane)
      }
      feed(lane)
    }
  })
}

async function sendAllAtRate(
  lanes: Lane[],
  requests: readonly Buffer[],
  perSecond: number,
  onAnswer: OnTimedAnswer
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const idle = [...lanes]
  const startedAt = performance.now()
  let next = 0
  let answered = 0

  function sendOne(lane: Lane, request: Buffer, dueAt: number): void {
    lane.onAnswer = (answer) => {
      onAnswer(answer, performance.now() - dueAt)
      idle.push(lane)
      if (++answered === requests.length) resolve()
    }
    lane.socket.write(request)
  }

  function sendDue(): void {
    for (;;) {
      const dueAt = startedAt + (next * 1000) / perSecond
      const request = requests[next]
      if (request === undefined || dueAt > performance.now()) return
      const lane = idle.shift()
      if (lane === undefined) return
      next += 1
      sendOne(lane, request, dueAt)
    }
  }

  for (const lane of lanes) lane.onFailure = reject
  const timer = setInterval(sendDue, 1)
  await promise.finally(() => clearInterval(timer))
}

/** Returns true: go on reading. */
function receive(lane: Lane, chunk: Buffer): boolean {
  const data = lane.begun.length === 0 ? chunk : Buffer.concat([lane.begun, chunk])
  try {
    const answer = readAnswer(data)
    lane.begun = answer === undefined ? Buffer.from(data) : Buffer.alloc(0)
    if (answer !== undefined) lane.onAnswer(answer)
  } catch (error) {
    lane.onFailure(error as Error)
  }
  return true
}

/** undefined: not all of it is there yet. */
function readAnswer(data: Buffer): Answer | undefined {
  const headEnd = data.indexOf(HEAD_END)
  if (headEnd === -1) return undefined
  const head = data.toString('latin1', 0, headEnd)
  const status = Number(head.slice(9, 12))
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? (status === 204 ? 0 : Number.NaN))
  const end = headEnd + HEAD_END.length + length
  if (Number.isNaN(end) || data.length > end)
    throw new Error(`an answer without a known end:\n${data.toString('latin1')}`)
  return data.length < end ? undefined : { status, body: data.subarray(end - length, end) }
}
