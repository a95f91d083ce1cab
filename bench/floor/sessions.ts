/** The floor's sessions in Redis: for each one record and one sealed session_key, in keys of their own. */
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'

export interface FloorSession {
  openid: string
  unionid: string
  /** Unix seconds, as the next two. */
  createdAt: number
  expiresAt: number
  keyEndsAt: number
  /** Another one after each refresh. */
  secret: string
}

/** Seconds. */
export const FLOOR_REFRESH_TTL = 2_592_000
const KEY_TTL = 7200
const IV_BYTES = 12
const TAG_BYTES = 16

/**
 * KEYS    the record
 * ARGV    the record as the refresh token has it, the record that follows it, how long it lives (s)
 * RETURN  1 · 0: it is another one by now
 */
const MOVE_ON = `
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
  return 1
`

const recordOf = (sid: string): string => `floor:{${sid}}`
const keyOf = (sid: string): string => `floor:{${sid}}:k`

/** The whole record: whoever shows it has it from us, as long as Redis holds the same one. */
const refreshTokenOf = (sid: string, record: string): string => Buffer.from(`${sid}${record}`).toString('base64url')

/** 16 bytes as base64url. */
const SID_LENGTH = 22

export class FloorSessions {
  readonly #redis: Redis
  readonly #encryptionKey: KeyObject
  readonly #moveOn: string

  private constructor(redis: Redis, encryptionKey: KeyObject, moveOn: string) {
    this.#redis = redis
    this.#encryptionKey = encryptionKey
    this.#moveOn = moveOn
  }

  static async connect(redis: Redis, encryptionKey: KeyObject): Promise<FloorSessions> {
    return new FloorSessions(redis, encryptionKey, String(await redis.script('LOAD', MOVE_ON)))
  }

  async open(openid: string, unionid: string, sessionKey: Buffer): Promise<{ sid: string; refreshToken: string }> {
    const sid = randomBytes(16).toString('base64url')
    const createdAt = Math.floor(Date.now() / 1000)
    const session = { openid, unionid, createdAt, keyEndsAt: createdAt + KEY_TTL }
    const record = writeRecord(session, createdAt)
    await this.#redis
      .pipeline()
      .set(recordOf(sid), record, 'EX', FLOOR_REFRESH_TTL)
      .set(keyOf(sid), this.#seal(sessionKey), 'EX', KEY_TTL)
      .exec()
    return { sid, refreshToken: refreshTokenOf(sid, record) }
  }

  async find(sid: string): Promise<FloorSession> {
    return JSON.parse((await this.#redis.get(recordOf(sid))) ?? '')
  }

  async sessionKey(sid: string): Promise<Buffer> {
    return this.#unseal((await this.#redis.getBuffer(keyOf(sid))) ?? Buffer.alloc(0))
  }

  async renew(refreshToken: string): Promise<{ sid: string; session: FloorSession; refreshToken: string }> {
    const text = Buffer.from(refreshToken, 'base64url').toString()
    const sid = text.slice(0, SID_LENGTH)
    const record = text.slice(SID_LENGTH)
    const session: FloorSession = JSON.parse(record)
    const next = writeRecord(session, Math.floor(Date.now() / 1000))
    const moved = await this.#redis.evalsha(this.#moveOn, 1, recordOf(sid), record, next, FLOOR_REFRESH_TTL)
    if (moved !== 1) throw new Error('the refresh token was used before')
    return { sid, session, refreshToken: refreshTokenOf(sid, next) }
  }

  /** iv, tag, ciphertext. */
  #seal(plaintext: Buffer): Buffer {
    const iv = randomBytes(IV_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#encryptionKey, iv)
    const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
    return Buffer.concat([iv, cipher.getAuthTag(), ciphertext])
  }

  #unseal(sealed: Buffer): Buffer {
    const textAt = IV_BYTES + TAG_BYTES
    const decipher = createDecipheriv('aes-256-gcm', this.#encryptionKey, sealed.subarray(0, IV_BYTES))
    decipher.setAuthTag(sealed.subarray(IV_BYTES, textAt))
    return Buffer.concat([decipher.update(sealed.subarray(textAt)), decipher.final()])
  }
}

function writeRecord(session: Omit<FloorSession, 'secret' | 'expiresAt'>, nowSeconds: number): string {
  const secret = randomBytes(16).toString('base64url')
  return JSON.stringify({ ...session, expiresAt: nowSeconds + FLOOR_REFRESH_TTL, secret })
}
