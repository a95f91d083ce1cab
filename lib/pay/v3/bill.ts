/**
 * The bill file of APIv3 (pay.weixin.qq.com/doc/v3/merchant/4013071227). It is not signed: what vouches for it is the hash in
 * the signed answer that named it, of the text before compression.
 */
import { createHash } from 'node:crypto'
import { pipeline, type Readable, Transform, type TransformCallback } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { ServiceError } from '../../errors.ts'
import { brokenFile } from '../bill-file.ts'

export interface BillFile {
  /** SHA-1 in hex. */
  hashValue: string
  /** Whether `tar_type=GZIP` was asked for. */
  isGzip: boolean
}

/**
 * The bill as CSV text, unpacked where it is packed. The last piece is held back until the hash is right, so that nobody
 * takes a wrong bill for a whole one. Fails with WECHAT_BAD_RESPONSE where the file is not what the answer promised.
 */
export function openBillV3(file: Readable, { hashValue, isGzip }: BillFile): Readable {
  const check = new HashCheck(hashValue)
  // A fault anywhere ends the last stage too, and its reader sees it.
  if (isGzip) pipeline(file, createGunzip(), check, () => undefined)
  else pipeline(file, check, () => undefined)
  return check
}

class HashCheck extends Transform {
  readonly #hash = createHash('sha1')
  readonly #expected: string
  #heldBack: Buffer | undefined

  constructor(expected: string) {
    super()
    this.#expected = expected.toLowerCase()
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#hash.update(chunk)
    const ready = this.#heldBack
    this.#heldBack = chunk
    done(null, ready)
  }

  override _flush(done: TransformCallback): void {
    const isRight = this.#hash.digest('hex') === this.#expected
    if (isRight) done(null, this.#heldBack)
    else done(new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'the bill has another hash than its answer said' }))
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    done(error && brokenFile(error))
  }
}
