/**
 * The keys of APIv3: those of each merchant, and WeChat's. WeChat's are the public key of the settings, and the
 * platform certificates, which are fetched, shared through Redis and renewed. The serial of each message chooses among
 * them (docs/wechat/pay.md B4, B5).
 */
import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import type { Redis } from 'ioredis'
import { hasCode, ServiceError } from '../../errors.ts'
import type { Keys } from '../../redis/keys.ts'
import { poll } from '../../redis/lease.ts'
import type { Merchant } from '../../settings/model.ts'
import { withTimeout } from '../../util/deadline.ts'
import { singleFlight } from '../../util/single-flight.ts'
import { type CertificateList, type CertificateRecords, readCertificatesV3 } from './certificates.ts'
import type { SenderV3 } from './client.ts'
import {
  type CredentialsV3,
  isCertificateSerial,
  type PlatformKeys,
  platformKeysV3,
  type SignedV3,
  type VerificationV3,
  verifyV3
} from './crypto.ts'
import { asServiceErrorV3 } from './errors.ts'

/**
 * undefined for a merchant without the keys of APIv3. Throws where a PEM is none, which the settings have ruled out.
 */
export function readCredentialsV3(merchant: Merchant): CredentialsV3 | undefined {
  const { mchid, certSerial, privateKey, apiV3Key, publicKeyId, publicKey } = merchant
  if (apiV3Key === undefined || certSerial === undefined || privateKey === undefined) return undefined
  return {
    mchid,
    certSerial,
    privateKey: createPrivateKey(privateKey),
    apiV3Key: createApiV3Key(apiV3Key),
    ...(publicKeyId && publicKey && { publicKey: { id: publicKeyId, key: createPublicKey(publicKey) } })
  }
}

/** The key is the bytes of its text, not decoded from anything. Throws RangeError unless there are 32. */
export function createApiV3Key(text: string): KeyObject {
  const key = Buffer.from(text)
  if (key.length !== 32) throw new RangeError('an APIv3 key has exactly 32 bytes')
  return createSecretKey(key)
}

/** The credentials of all merchants that use APIv3. */
export class AccountsV3 {
  readonly all: readonly CredentialsV3[]
  readonly #byMchid: ReadonlyMap<string, CredentialsV3>

  constructor(merchants: readonly Merchant[]) {
    this.all = merchants.map(readCredentialsV3).filter((credentials) => credentials !== undefined)
    this.#byMchid = new Map(this.all.map((credentials) => [credentials.mchid, credentials]))
  }

  find(mchid: string): CredentialsV3 | undefined {
    return this.#byMchid.get(mchid)
  }

  /** Throws WECHAT_CONFIG_INVALID where the merchant has no keys for APIv3; the message names the settings. */
  of({ mchid }: Pick<Merchant, 'mchid'>): CredentialsV3 {
    const credentials = this.find(mchid)
    if (credentials !== undefined) return credentials
    throw new ServiceError('WECHAT_CONFIG_INVALID', {
      message:
        'This merchant has no keys for api v3: set WECHAT_PAY_API_V3_KEY (apiV3Key), ' +
        'WECHAT_PAY_CERT_SERIAL (certSerial) and WECHAT_PAY_PRIVATE_KEY (privateKey), or use api v2'
    })
  }
}

/** WeChat waits for our answer; where it is a refusal the callback comes again. */
const LONGEST_WAIT_MS = 1500
/**
 * Between two requests for the certificates of a merchant, by all instances together, once one was answered: anybody
 * can send an unknown serial.
 */
const FETCH_PAUSE_MS = 60_000
/** After a request that brought nothing, doubled with each, up to the pause. */
const RETRY_MS = 2000
/** WeChat lists a new certificate a day before it signs with it, and asks to look every twelve hours. */
const RENEW_AFTER_MS = 12 * 3_600_000

export interface PlatformKeyOptions {
  redis: Redis
  keys: Keys
  records: CertificateRecords
  sender: SenderV3
  /** How long one request to WeChat can take. */
  timeoutMs: number
  /** The certificates of a merchant could not be fetched: only its certificates known before count. */
  onFailure: (mchid: string, error: unknown) => void
  /** Milliseconds since 1970. */
  now: () => number
}

export class PlatformKeyStore {
  readonly #options: PlatformKeyOptions
  readonly #pauseMs: number
  readonly #held = new Map<string, CertificateList>()
  /** Requests in a row that brought nothing, by merchant. */
  readonly #failures = new Map<string, number>()
  readonly #flight = singleFlight<void>()

  constructor(options: PlatformKeyOptions) {
    this.#options = options
    this.#pauseMs = Math.max(FETCH_PAUSE_MS, options.timeoutMs + 1000)
  }

  /**
   * Verifies with the keys held. For a certificate that nobody knows the list is fetched once, for at most 1.5 s; then
   * the verdict is refused, `serial`. `atMs`: when the message came, where that was not now. Throws only where Redis is
   * away and the serial is unknown.
   */
  async verify(
    credentials: CredentialsV3,
    message: SignedV3,
    atMs: number = this.#options.now()
  ): Promise<VerificationV3> {
    const first = verifyV3(message, this.#keysOf(credentials), atMs)
    if (first.status === 'verified' || first.reason !== 'serial') return first
    const serial = first.serial ?? ''
    if (!isCertificateSerial(serial)) return first
    const search = this.#flight(credentials.mchid, () => this.#lookFor(credentials, serial))
    await withTimeout(search, LONGEST_WAIT_MS)
    return verifyV3(message, this.#keysOf(credentials), atMs)
  }

  /**
   * Takes over what other instances have fetched, and fetches what is missing or older than twelve hours. Answers
   * whether nothing of that is left to do. Never throws.
   */
  async renew(credentials: CredentialsV3): Promise<boolean> {
    const { mchid } = credentials
    try {
      await this.#takeOver(mchid)
      if (!this.#isFresh(mchid)) await this.#fetchInTurn(credentials)
    } catch (error) {
      this.#options.onFailure(mchid, error)
    }
    return this.#isFresh(mchid)
  }

  #keysOf({ mchid, publicKey }: CredentialsV3): PlatformKeys {
    const certificates = this.#held.get(mchid)?.certificates ?? []
    return platformKeysV3({ publicKey, certificates, nowMs: this.#options.now() })
  }

  #fetchedAtMs(mchid: string): number {
    return this.#held.get(mchid)?.fetchedAtMs ?? Number.NEGATIVE_INFINITY
  }

  #isFresh(mchid: string): boolean {
    return this.#options.now() - this.#fetchedAtMs(mchid) < RENEW_AFTER_MS
  }

  async #takeOver(mchid: string): Promise<void> {
    const shared = await this.#options.records.read(mchid)
    if (shared !== undefined && shared.fetchedAtMs > this.#fetchedAtMs(mchid)) this.#held.set(mchid, shared)
  }

  async #lookFor(credentials: CredentialsV3, serial: string): Promise<void> {
    const { mchid } = credentials
    const isFound = () => this.#keysOf(credentials).get(serial) !== undefined
    await this.#takeOver(mchid)
    if (isFound() || (await this.#fetchInTurn(credentials))) return
    await this.#awaitOther(mchid, isFound)
  }

  /** One instance fetches; the pause is also the lock. Answers whether it was this one. */
  async #fetchInTurn(credentials: CredentialsV3): Promise<boolean> {
    const { redis, keys, onFailure } = this.#options
    const { mchid } = credentials
    const isOurTurn = await redis.set(keys.platformCertificatesPause(mchid), '1', 'PX', this.#pauseMs, 'NX')
    if (isOurTurn === null) return false
    try {
      await this.#fetchList(credentials)
      this.#failures.delete(mchid)
    } catch (error) {
      onFailure(mchid, error)
      if (!hasCode(error, LASTING)) await this.#endPauseSooner(mchid)
    }
    return true
  }

  async #fetchList(credentials: CredentialsV3): Promise<void> {
    const { sender, records, now } = this.#options
    const { mchid, apiV3Key } = credentials
    const answer = await sender.send(credentials, { call: 'certificates', method: 'GET', path: '/v3/certificates' })
    if (answer.status !== 200) throw asServiceErrorV3('certificates', answer.status, answer.body)
    const nowMs = now()
    const read = readCertificatesV3(answer, { apiV3Key, known: this.#keysOf(credentials), nowMs })
    if (read.status === 'bad') throw unusable(read.reason)
    const list = { fetchedAtMs: nowMs, certificates: read.certificates }
    this.#held.set(mchid, list)
    await records.write(mchid, list)
  }

  async #endPauseSooner(mchid: string): Promise<void> {
    const { redis, keys } = this.#options
    const before = this.#failures.get(mchid) ?? 0
    this.#failures.set(mchid, before + 1)
    const pauseMs = Math.min(RETRY_MS * 2 ** before, this.#pauseMs)
    await redis.pexpire(keys.platformCertificatesPause(mchid), pauseMs)
  }

  /** Where another instance may be fetching at this moment, its list is waited for. */
  async #awaitOther(mchid: string, isFound: () => boolean): Promise<void> {
    const { redis, keys } = this.#options
    const sinceMs = this.#pauseMs - (await redis.pttl(keys.platformCertificatesPause(mchid)))
    await poll(performance.now() + LONGEST_WAIT_MS - sinceMs, async () => {
      await this.#takeOver(mchid)
      return isFound() || undefined
    })
  }
}

/** Lasts until somebody changes the settings, so that it need not be asked about soon. */
const LASTING = 'WECHAT_CONFIG_INVALID'

function unusable(reason: string): ServiceError {
  const code = reason === 'unopenable' ? LASTING : 'WECHAT_BAD_RESPONSE'
  return new ServiceError(code, { detail: `the platform certificates are unusable: ${reason}` })
}
