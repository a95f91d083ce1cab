/** Files as they come over HTTP: looked into, unpacked, and checked before their end is passed on. */
import { pipeline, type Readable, Transform, type TransformCallback } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { ServiceError } from '../errors.ts'

/**
 * The first `bytes` of a stream, less where it is shorter, and all of it to go on with. Throws what the stream ends
 * with.
 */
export async function peek(stream: Readable, bytes: number): Promise<{ start: Buffer; all: AsyncIterable<Buffer> }> {
  const chunks: AsyncIterator<Buffer> = stream[Symbol.asyncIterator]()
  let begun: Buffer = Buffer.alloc(0)
  while (begun.length < bytes) {
    const { done, value } = await chunks.next()
    if (done) break
    begun = Buffer.concat([begun, value])
  }
  return { start: begun.subarray(0, bytes), all: rejoin(stream, begun, chunks) }
}

async function* rejoin(stream: Readable, begun: Buffer, chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield begun
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value
  } finally {
    // Whoever stops reading here gives up the whole.
    stream.destroy()
  }
}

/** All of it. Throws WECHAT_BAD_RESPONSE where that is more than `maxBytes`, and what the stream ends with. */
export async function collect(stream: AsyncIterable<Buffer>, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    chunks.push(chunk)
    size += chunk.length
    if (size > maxBytes)
      throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: `the answer is larger than ${maxBytes} bytes` })
  }
  return Buffer.concat(chunks)
}

/**
 * Passes a file on, its last piece only once all of it was found right: so nobody takes a wrong file for a whole one.
 * Ends with WECHAT_BAD_RESPONSE, or why the file broke off.
 */
export abstract class FileCheck extends Transform {
  #heldBack: Buffer | undefined

  /** Throws where it is wrong already. */
  protected abstract look(piece: Buffer): void
  /** Throws where the whole is wrong. */
  protected abstract conclude(): void

  override _transform(piece: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const ready = this.#heldBack
    this.#heldBack = piece
    this.#check(() => this.look(piece), done, ready)
  }

  override _flush(done: TransformCallback): void {
    this.#check(() => this.conclude(), done, this.#heldBack)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    done(error && brokenFile(error))
  }

  #check(check: () => void, done: TransformCallback, ready: Buffer | undefined): void {
    try {
      check()
      done(null, ready)
    } catch (error) {
      done(error as Error)
    }
  }
}

/**
 * `file`, unpacked where it is packed, by way of `check`. A fault anywhere ends the last stage too, and its reader sees
 * it.
 */
export function openChecked(file: AsyncIterable<Buffer>, isGzip: boolean, check: FileCheck): Readable {
  if (isGzip) pipeline(file, createGunzip(), check, () => undefined)
  else pipeline(file, check, () => undefined)
  return check
}

/** What the reader of a broken file is told: the reason where it is known. */
const brokenFile = (cause: Error): ServiceError =>
  cause instanceof ServiceError
    ? cause
    : new ServiceError('WECHAT_BAD_RESPONSE', {
        detail: 'the bill broke off, or is not the text or gzip it should be',
        cause
      })
