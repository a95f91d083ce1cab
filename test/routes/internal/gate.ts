/** A gate in front of the sandbox: WeChat has done its work, but its answer waits until the test lets it through. */
import { once } from 'node:events'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'
import { listenFor } from '../../listen.ts'

export interface Gate {
  /** For WECHAT_API_ORIGIN. */
  origin: string
  /** From now on answers to `path` wait. */
  hold(path: string): void
  /** Resolves when `count` answers wait. */
  waiting(count: number): Promise<void>
  /** Lets all answers through that wait, and all to come. */
  open(): void
}

export async function startGate(t: Test, sandboxOrigin: string): Promise<Gate> {
  const held: (() => void)[] = []
  let heldPath: string | undefined
  const { server, origin } = await listenFor(t, async (request, response) => {
    const { method = 'GET', url = '/' } = request
    const body = method === 'POST' ? await buffer(request) : null
    const answer = await fetch(`${sandboxOrigin}${url}`, { method, body })
    const text = await answer.text()
    const pass = () => response.writeHead(answer.status).end(text)
    if (heldPath !== undefined && url.startsWith(heldPath)) held.push(pass)
    else pass()
    server.emit('held')
  })
  return {
    origin,
    hold(path) {
      heldPath = path
    },
    async waiting(count) {
      while (held.length < count) await once(server, 'held')
    },
    open() {
      heldPath = undefined
      for (const pass of held.splice(0)) pass()
    }
  }
}
