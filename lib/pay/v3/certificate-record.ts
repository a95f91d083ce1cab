/**
 * Platform certificates as all instances share them in Redis: sealed, so that whoever can write there cannot add one.
 */
import { createPublicKey } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Keys } from '../../redis/keys.ts'
import { unlessWrongType } from '../../redis/wrong-type.ts'
import type { Sealer } from '../../sessions/seal.ts'
import type { PlatformCertificate } from './certificates.ts'

/** Renewed far more often; this is for merchants that are gone. */
const LIFE_SECONDS = 30 * 86_400

export interface CertificateList {
  /** Milliseconds since 1970. */
  fetchedAtMs: number
  certificates: readonly PlatformCertificate[]
}

export interface CertificateRecords {
  /** undefined where there is none, or none that we sealed. Fails where Redis is away; as the next one. */
  read(mchid: string): Promise<CertificateList | undefined>
  write(mchid: string, list: CertificateList): Promise<void>
}

export interface CertificateRecordOptions {
  redis: Redis
  keys: Keys
  sealer: Sealer
}

export function createCertificateRecords({ redis, keys, sealer }: CertificateRecordOptions): CertificateRecords {
  return {
    async read(mchid) {
      const place = keys.platformCertificates(mchid)
      const sealed = await unlessWrongType(redis.getBuffer(place), () => null)
      const opened = sealed && sealer.open(sealed, place)
      return opened ? parse(opened.toString()) : undefined
    },
    async write(mchid, { fetchedAtMs, certificates }) {
      const place = keys.platformCertificates(mchid)
      const plain = certificates.map(({ publicKey, ...rest }) => rest)
      const sealed = sealer.seal(Buffer.from(JSON.stringify({ fetchedAtMs, certificates: plain })), place)
      await redis.set(place, sealed, 'EX', LIFE_SECONDS)
    }
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
