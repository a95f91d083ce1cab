/** A receiver of events that answers at once, in a process of its own, and counts what came. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { answerQuestions } from './rpc.ts'

let posts = 0

const server = createServer((request, response) => {
  request.resume().once('end', () => {
    posts += 1
    response.writeHead(204).end()
  })
})

answerQuestions({
  async start(): Promise<string> {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`
  },

  posts: (): number => posts
})
