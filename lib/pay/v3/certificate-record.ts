/**
 * Platform certificates as all instances share them in Redis: sealed, so that nobody who can write there can add one.
 */
import { createPublicKey } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Sealer } from '../../crypto/seal.ts'
import type { Keys } from '../../redis/keys.ts'
import { unlessWrongType } from '../../redis/wrong-type.ts'
import type { PlatformCertificate } from './certificates.ts'

/** Renewed far more often; this is for merchants that are gone. */
const LIFE_SECONDS = 30 * 86_400

export interface CertificateList {
  /** Milliseconds since 1970. */
  fetchedAtMs: number
  certificates: readonly PlatformCertificate[]
}

export interface CertificateRecordOptions {
  redis: Redis
  keys: Keys
  sealer: Sealer
}

export class CertificateRecords {
  readonly #options: CertificateRecordOptions

  constructor(options: CertificateRecordOptions) {
    this.#options = options
  }

  /** undefined where there is none, or none that we sealed. Throws where Redis is away, as `write` does. */
  async read(mchid: string): Promise<CertificateList | undefined> {
    const { redis, keys, sealer } = this.#options
    const key = keys.platformCertificates(mchid)
    const sealed = await unlessWrongType(redis.getBuffer(key), () => null)
    const opened = sealed && sealer.open(sealed, key)
    return opened ? parse(opened.toString()) : undefined
  }

  async write(mchid: string, { fetchedAtMs, certificates }: CertificateList): Promise<void> {
    const { redis, keys, sealer } = this.#options
    const key = keys.platformCertificates(mchid)
    const plain = certificates.map(({ publicKey, ...rest }) => rest)
    const sealed = sealer.seal(Buffer.from(JSON.stringify({ fetchedAtMs, certificates: plain })), key)
    await redis.set(key, sealed, 'EX', LIFE_SECONDS)
  }
}

function parse(text: string): CertificateList {
  const { fetchedAtMs, certificates } = JSON.parse(text) as {
    fetchedAtMs: number
    certificates: Omit<PlatformCertificate, 'publicKey'>[]
  }
  return {
    fetchedAtMs,
    certificates: certificates.map((each) => ({ ...each, publicKey: createPublicKey(each.pem) }))
  }
}
