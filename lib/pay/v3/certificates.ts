/**
 * WeChat's platform certificates, as `GET /v3/certificates` answers them
 * (pay.weixin.qq.com/doc/v3/merchant/4012551764), and as instances share them.
 *
 * They are issued by a root that WeChat does not send along, so there is no chain to follow. They count because they
 * open under the APIv3 key, which only the merchant and WeChat hold, and because the answer is signed: by a key held
 * before, or, the first time, by one of its own certificates.
 */
import { createPublicKey, type KeyObject, type X509Certificate } from 'node:crypto'
import type { Redis } from 'ioredis'
import { readRsaCertificate, serialOf } from '../../crypto/pem.ts'
import type { Sealer } from '../../crypto/seal.ts'
import type { Keys } from '../../redis/keys.ts'
import { unlessWrongType } from '../../redis/trouble.ts'
import { isPlainObject } from '../../util/json.ts'
import { openResource, type PlatformKeys, platformKeysV3, type RefusalV3, type SignedV3, verifyV3 } from './crypto.ts'
import { FieldReader, parseJsonObject } from './fields.ts'

export interface PlatformCertificate {
  /** 40 hex digits in upper case, leading zeros kept: what `Wechatpay-Serial` says. */
  serial: string
  /** The narrower of what the certificate and WeChat's list say. */
  notBeforeMs: number
  notAfterMs: number
  publicKey: KeyObject
  pem: string
}

export type CertificateFault =
  /** Not the JSON it should be, or without any certificate still valid. */
  | 'shape'
  /** Sealed under another APIv3 key than ours, or with another algorithm. */
  | 'unopenable'
  /** What was sealed is no certificate with an RSA key of 2048 bits. */
  | 'certificate'
  /** The certificate has another serial number than the list says. */
  | 'mislabelled'

export type CertificatesV3 =
  | { status: 'read'; certificates: PlatformCertificate[] }
  | { status: 'bad'; reason: CertificateFault | RefusalV3 }

export interface CertificatesOptions {
  apiV3Key: KeyObject
  /** The keys held before. */
  known?: PlatformKeys
  nowMs: number
}

/**
 * Opens and verifies a 200 answer. All or nothing; what has expired is left out, what comes into use tomorrow is not. A
 * merchant that has only a public key gets 404 RESOURCE_NOT_EXISTS instead: nothing to repeat.
 */
export function readCertificatesV3(answer: SignedV3, { apiV3Key, known, nowMs }: CertificatesOptions): CertificatesV3 {
  const entries = parseJsonObject(answer.body)?.data
  if (!Array.isArray(entries)) return bad('shape')
  const certificates: PlatformCertificate[] = []
  for (const entry of entries) {
    const certificate = openCertificateV3(entry, apiV3Key)
    if (typeof certificate === 'string') return bad(certificate)
    if (certificate.notAfterMs > nowMs) certificates.push(certificate)
  }
  if (certificates.length === 0) return bad('shape')
  const brought = platformKeysV3({ certificates, nowMs })
  const verified = verifyV3(answer, { get: (serial) => known?.get(serial) ?? brought.get(serial) }, nowMs)
  return verified.status === 'verified' ? { status: 'read', certificates } : bad(verified.reason)
}

/** Opens one entry of the list. It proves that the APIv3 key is right, and no more. */
export function openCertificateV3(entry: unknown, apiV3Key: KeyObject): PlatformCertificate | CertificateFault {
  if (!isPlainObject(entry) || !isPlainObject(entry.encrypt_certificate)) return 'shape'
  const fields = new FieldReader(entry)
  const serial = fields.text('serial_no').toUpperCase().padStart(40, '0')
  const listed = { from: fields.time('effective_time'), to: fields.time('expire_time') }
  if (fields.fault !== undefined) return 'shape'
  const pem = openResource(entry.encrypt_certificate, apiV3Key)?.toString('utf8')
  if (pem === undefined) return 'unopenable'
  const certificate = readRsaCertificate(pem)
  if (certificate?.publicKey.asymmetricKeyDetails?.modulusLength !== 2048) return 'certificate'
  if (serialOf(certificate) !== serial) return 'mislabelled'
  return { serial, ...narrow(certificate, listed), publicKey: certificate.publicKey, pem }
}

function narrow({ validFromDate, validToDate }: X509Certificate, { from, to }: { from: string; to: string }) {
  return {
    notBeforeMs: Math.max(validFromDate.getTime(), Date.parse(from)),
    notAfterMs: Math.min(validToDate.getTime(), Date.parse(to))
  }
}

const bad = (reason: CertificateFault | RefusalV3): CertificatesV3 => ({ status: 'bad', reason })

/** Renewed far more often; this is for merchants that are gone. */
const LIFE_SECONDS = 30 * 86_400

export interface CertificateList {
  /** Milliseconds since 1970. */
  fetchedAtMs: number
  certificates: readonly PlatformCertificate[]
}

/** The certificates as all instances share them in Redis: sealed, so that nobody who can write there can add one. */
export class CertificateRecords {
  readonly #options: { redis: Redis; keys: Keys; sealer: Sealer }

  constructor(options: { redis: Redis; keys: Keys; sealer: Sealer }) {
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
