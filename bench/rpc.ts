/** Questions that the benchmark asks processes it started, over Node's own channel between parent and child. */
import type { ChildProcess } from 'node:child_process'

interface Question {
  id: number
  name: string
  argument: unknown
}

interface Reply {
  id: number
  result?: unknown
  error?: string
}

/** In the child: answers by name, until the parent is gone, with which the process ends. */
export function answerQuestions(handlers: Record<string, (argument: never) => unknown>): void {
  process.on('message', async ({ id, name, argument }: Question) => {
    try {
      process.send?.({ id, result: await handlers[name]?.(argument as never) })
    } catch (error) {
      process.send?.({ id, error: String(error) })
    }
  })
  process.once('disconnect', () => process.exit())
}

let count = 0

/** In the parent. Rejects with what the child threw, or when it ends before it answers. */
export function ask<T>(child: ChildProcess, name: string, argument?: unknown): Promise<T> {
  const id = ++count
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      child.off('message', listen)
      child.off('disconnect', ended)
      act()
    }
    const listen = (message: unknown) => {
      const reply = message as Reply
      if (reply.id !== id) return
      settle(() => (reply.error === undefined ? resolve(reply.result as T) : reject(new Error(reply.error))))
    }
    const ended = () => settle(() => reject(new Error(`a process of the benchmark ended instead of answering ${name}`)))
    child.on('message', listen)
    child.once('disconnect', ended)
    child.send({ id, name, argument })
  })
}
