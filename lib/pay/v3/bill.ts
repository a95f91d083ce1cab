/**
 * The bill file of APIv3 (pay.weixin.qq.com/doc/v3/merchant/4013071227). It is not signed: its proof is the
 * hash in the signed answer that named it, of the text before compression.
 */
import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { ServiceError } from '../../errors.ts'
import { FileCheck, openChecked } from '../../http/checked-file.ts'

export interface BillFile {
  /** SHA-1 in hex. */
  hashValue: string
  /** Whether `tar_type=GZIP` was asked for. */
  isGzip: boolean
}

/**
 * The bill as CSV text, unpacked where it is packed. Fails with WECHAT_BAD_RESPONSE where the file is not what the
 * answer promised.
 */
export const openBillV3 = (file: Readable, { hashValue, isGzip }: BillFile): Readable =>
  openChecked(file, isGzip, new HashCheck(hashValue))

class HashCheck extends FileCheck {
  readonly #hash = createHash('sha1')
  readonly #expected: string

  constructor(expected: string) {
    super()
    this.#expected = expected.toLowerCase()
  }

  protected override look(piece: Buffer): void {
    this.#hash.update(piece)
  }

  protected override conclude(): void {
    if (this.#hash.digest('hex') !== this.#expected)
      throw new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'the bill has another hash than its answer said' })
  }
}
