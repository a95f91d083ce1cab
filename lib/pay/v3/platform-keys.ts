/**
 * WeChat's keys of each merchant: the public key of the settings, and the platform certificates, which are fetched,
 * shared through Redis and renewed. The serial of each message chooses among them (docs/wechat/pay.md B4, B5).
 */
import type { Redis } from 'ioredis'
import { hasCode, ServiceError } from '../../errors.ts'
import type { Keys } from '../../redis/keys.ts'
import { poll } from '../../redis/lease.ts'
import { singleFlight } from '../../util/single-flight.ts'
import { withTimeout } from '../../util/timeout.ts'
import type { CertificateList, CertificateRecords } from './certificate-record.ts'
import { platformKeysV3, readCertificatesV3 } from './certificates.ts'
import type { CredentialsV3 } from './credentials.ts'
import { asServiceErrorV3 } from './errors.ts'
import type { SenderV3 } from './send.ts'
import { isCertificateSerial, type PlatformKeys, type SignedV3, type VerificationV3, verifyV3 } from './verify.ts'

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

export interface PlatformKeyStore {
  /**
   * Verifies with the keys held. For a certificate that nobody knows the list is fetched once, for at most 1.5 s; then
   * the verdict is refused, `serial`. `atMs`: when the message came, where that was not now. Fails only where Redis is
   * away and the serial is unknown.
   */
  verify(credentials: CredentialsV3, message: SignedV3, atMs?: number): Promise<VerificationV3>
  /**
   * Takes over what other instances have fetched, and fetches what is missing or older than twelve hours. Answers
   * whether nothing of that is left to do. Never throws.
   */
  renew(credentials: CredentialsV3): Promise<boolean>
}

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

export function createPlatformKeys(options: PlatformKeyOptions): PlatformKeyStore {
  const { redis, keys, records, sender, onFailure, now } = options
  const held = new Map<string, CertificateList>()
  /** Requests in a row that brought nothing, by merchant. */
  const failures = new Map<string, number>()
  const flight = singleFlight<void>()
  const pauseMs = Math.max(FETCH_PAUSE_MS, options.timeoutMs + 1000)

  function keysOf({ mchid, publicKey }: CredentialsV3): PlatformKeys {
    const certificates = held.get(mchid)?.certificates ?? []
    return platformKeysV3({ ...(publicKey && { publicKey }), certificates, nowMs: now() })
  }

  async function takeOver(mchid: string): Promise<void> {
    const shared = await records.read(mchid)
    const ours = held.get(mchid)?.fetchedAtMs ?? Number.NEGATIVE_INFINITY
    if (shared !== undefined && shared.fetchedAtMs > ours) held.set(mchid, shared)
  }

  async function fetchList(credentials: CredentialsV3): Promise<void> {
    const { mchid, apiV3Key } = credentials
    const answer = await sender.send(credentials, { call: 'certificates', method: 'GET', path: '/v3/certificates' })
    if (answer.status !== 200) throw asServiceErrorV3('certificates', answer.status, answer.body)
    const nowMs = now()
    const read = readCertificatesV3(answer, { apiV3Key, known: keysOf(credentials), nowMs })
    if (read.status === 'bad') throw unusable(read.reason)
    const list = { fetchedAtMs: nowMs, certificates: read.certificates }
    held.set(mchid, list)
    await records.write(mchid, list)
  }

  /** One instance fetches; the pause is also the lock. Answers whether it was this one. */
  async function fetchInTurn(credentials: CredentialsV3): Promise<boolean> {
    const { mchid } = credentials
    const isOurTurn = await redis.set(keys.platformCertificatesPause(mchid), '1', 'PX', pauseMs, 'NX')
    if (isOurTurn === null) return false
    try {
      await fetchList(credentials)
      failures.delete(mchid)
    } catch (error) {
      onFailure(mchid, error)
      if (!isLasting(error)) await endPauseSooner(mchid)
    }
    return true
  }

  async function endPauseSooner(mchid: string): Promise<void> {
    const before = failures.get(mchid) ?? 0
    failures.set(mchid, before + 1)
    await redis.pexpire(keys.platformCertificatesPause(mchid), Math.min(RETRY_MS * 2 ** before, pauseMs))
  }

  const isFresh = (mchid: string) => now() - (held.get(mchid)?.fetchedAtMs ?? Number.NEGATIVE_INFINITY) < RENEW_AFTER_MS

  /** Where another instance may be fetching at this moment, its list is waited for. */
  async function awaitOther(mchid: string, isFound: () => boolean): Promise<void> {
    const sinceMs = pauseMs - (await redis.pttl(keys.platformCertificatesPause(mchid)))
    const giveUpAt = performance.now() + LONGEST_WAIT_MS - sinceMs
    await poll(giveUpAt, async () => {
      await takeOver(mchid)
      return isFound() || undefined
    })
  }

  async function lookFor(credentials: CredentialsV3, serial: string): Promise<void> {
    const { mchid } = credentials
    const isFound = () => keysOf(credentials).get(serial) !== undefined
    await takeOver(mchid)
    if (isFound() || (await fetchInTurn(credentials))) return
    await awaitOther(mchid, isFound)
  }

  return {
    async verify(credentials, message, atMs = now()) {
      const first = verifyV3(message, keysOf(credentials), atMs)
      if (first.status === 'verified' || first.reason !== 'serial') return first
      const serial = first.serial ?? ''
      if (!isCertificateSerial(serial)) return first
      await withTimeout(
        flight(credentials.mchid, () => lookFor(credentials, serial)),
        LONGEST_WAIT_MS
      )
      return verifyV3(message, keysOf(credentials), atMs)
    },

    async renew(credentials) {
      const { mchid } = credentials
      try {
        await takeOver(mchid)
        if (!isFresh(mchid)) await fetchInTurn(credentials)
      } catch (error) {
        onFailure(mchid, error)
      }
      return isFresh(mchid)
    }
  }
}

/** Until somebody changes the settings, so that it need not be asked about soon. */
const isLasting = (error: unknown): boolean => hasCode(error, 'WECHAT_CONFIG_INVALID')

function unusable(reason: string): ServiceError {
  const code = reason === 'unopenable' ? 'WECHAT_CONFIG_INVALID' : 'WECHAT_BAD_RESPONSE'
  return new ServiceError(code, { detail: `the platform certificates are unusable: ${reason}` })
}
