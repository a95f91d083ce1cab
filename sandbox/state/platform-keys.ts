/**
 * The keys that WeChat Pay signs with for one merchant: a public key that does not expire, platform certificates that
 * rotate, or both.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto'
import type { MerchantV3, PlatformCertificate } from '../options.ts'

export interface Signer {
  readonly serial: string
  readonly key: KeyObject
}

export interface Certificate extends Signer {
  readonly pem: string
  readonly x509: X509Certificate
  listed: boolean
  signs: boolean
}

/** `listed`: the old one signs; `both`: in turn; `new`: the new one; `ended`: the old one is no longer listed. */
export type RotationStage = 'listed' | 'both' | 'new' | 'ended'

/** As WeChat writes it: 40 upper-case hex digits. */
export function serialOf(certificate: X509Certificate): string {
  return certificate.serialNumber.toUpperCase().padStart(40, '0')
}

export class PlatformKeys {
  readonly publicKey: Signer | undefined
  readonly #certificates: Certificate[] = []
  #turn = 0

  constructor({ publicKey, certificates = [] }: MerchantV3) {
    this.publicKey = publicKey && { serial: publicKey.id, key: createPrivateKey(publicKey.privateKeyPem) }
    for (const certificate of certificates) this.add(certificate)
  }

  /** Listed from now on; signs at once only where it is the first. */
  add({ certificatePem, privateKeyPem }: PlatformCertificate): void {
    const x509 = new X509Certificate(certificatePem)
    const key = createPrivateKey(privateKeyPem)
    const signs = this.#certificates.length === 0
    this.#certificates.push({ serial: serialOf(x509), key, pem: certificatePem, x509, listed: true, signs })
  }

  listed(): Certificate[] {
    return this.#certificates.filter(({ listed }) => listed)
  }

  signing(): Certificate[] {
    return this.#certificates.filter(({ signs }) => signs)
  }

  /** Moves on between the newest certificate and those before it. */
  rotate(stage: RotationStage): void {
    const newest = this.#certificates.at(-1)
    for (const certificate of this.#certificates) {
      const isNew = certificate === newest
      const isPrevious = certificate === this.#certificates.at(-2)
      certificate.signs = isNew ? stage !== 'listed' : isPrevious && (stage === 'listed' || stage === 'both')
      certificate.listed = isNew || (isPrevious && stage !== 'ended')
    }
  }

  /** Answers follow the request's Wechatpay-Serial where it names the public key. */
  forAnswer(wanted: string | undefined): Signer {
    const { publicKey } = this
    return publicKey !== undefined && wanted === publicKey.serial ? publicKey : this.byDefault()
  }

  /** The platform certificate (in turn, where two sign), or the public key where there is none. */
  byDefault(): Signer {
    const signing = this.signing()
    const signer = signing[this.#turn++ % Math.max(1, signing.length)] ?? this.publicKey
    if (signer === undefined) throw new Error('the merchant has no platform key')
    return signer
  }

  /** By serial or id, retired ones too. */
  find(serial: string): Signer | undefined {
    return [this.publicKey, ...this.#certificates].find((signer) => signer?.serial === serial)
  }
}

let strange: KeyObject | undefined

/** A key that belongs to nobody, under any name. */
export function stranger(serial: string): Signer {
  strange ??= generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  return { serial, key: strange }
}
