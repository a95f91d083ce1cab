/** How the floor is asked, and how it answers. */
import type { IncomingMessage, ServerResponse } from 'node:http'

export interface FloorExchange {
  request: IncomingMessage
  response: ServerResponse
  body: Buffer
}

/** What it throws ends the process, and with it the benchmark. */
export type FloorHandler = (exchange: FloorExchange) => void | Promise<void>

export function answer(response: ServerResponse, type: string, body: string | Buffer): void {
  response.writeHead(200, ['Content-Type', type, 'Content-Length', String(Buffer.byteLength(body))])
  response.end(body)
}

export const answerJson = (response: ServerResponse, fields: object): void =>
  answer(response, 'application/json; charset=utf-8', JSON.stringify(fields))
