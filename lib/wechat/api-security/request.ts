/**
 * The request side of WeChat's API security mode: parameters sealed with AES-256-GCM, then signed with RSA-PSS
 * (docs/wechat/mini-program.md 7).
 */
import {
  constants,
  createCipheriv,
  type KeyObject,
  randomBytes,
  randomInt,
  type SignKeyObjectInput,
  sign
} from 'node:crypto'
import { promisify } from 'node:util'
import { type JsonMembers, writeMembers } from './members.ts'

/** The keys that one app and WeChat hold for this mode. */
export interface ApiSecurityKeys {
  appid: string
  symKey: KeyObject
  symSerial: string
  privateKey: KeyObject
  /** Of WeChat's certificate. */
  wechatKey: KeyObject
  wechatSerial: string
}

/** What makes two requests with the same parameters differ. */
export interface Freshness {
  /** Unix seconds. */
  timestamp: number
  n: string
  /** 12 bytes, never twice for one key. */
  iv: Buffer
}

/** The names that the mode itself uses: parameters cannot have them. */
export const SECURITY_MEMBERS: ReadonlySet<string> = new Set(['_n', '_appid', '_timestamp'])

const SALT_BYTES = 32

/** A signature takes a millisecond: off the event loop. */
const signInPool = promisify(
  (text: Buffer, key: SignKeyObjectInput, done: (error: Error | null, signature: Buffer) => void) =>
    sign('sha256', text, key, done)
)

export const freshnessAt = (nowMs: number): Freshness => ({
  timestamp: Math.floor(nowMs / 1000),
  n: randomBytes(randomInt(16, 33)).toString('base64'),
  iv: randomBytes(12)
})

/** The additional data of both directions: `urlpath|appid|timestamp|sn`, sn of the symmetric key. */
export const additionalData = ({ appid, symSerial }: ApiSecurityKeys, urlpath: string, timestamp: string): Buffer =>
  Buffer.from(`${urlpath}|${appid}|${timestamp}|${symSerial}`)

/** What stands before the body in the signed text of both directions. */
export const signedHead = ({ appid }: ApiSecurityKeys, urlpath: string, timestamp: string): Buffer =>
  Buffer.from(`${urlpath}\n${appid}\n${timestamp}\n`)

/** The body to send. `urlpath`: scheme, host and path. */
export function sealRequest(keys: ApiSecurityKeys, urlpath: string, parameters: JsonMembers, fresh: Freshness): Buffer {
  const { n, timestamp, iv } = fresh
  const security = Object.entries({ _n: n, _appid: keys.appid, _timestamp: timestamp })
  const members = [
    ...security.map(([name, value]) => [name, JSON.stringify(value)] as const),
    ...[...parameters].filter(([name]) => !SECURITY_MEMBERS.has(name))
  ]
  const cipher = createCipheriv('aes-256-gcm', keys.symKey, iv)
  cipher.setAAD(additionalData(keys, urlpath, String(timestamp)))
  const data = cipher.update(writeMembers(members), 'utf8', 'base64') + cipher.final('base64')
  const sealed = { iv: iv.toString('base64'), data, authtag: cipher.getAuthTag().toString('base64') }
  return Buffer.from(JSON.stringify(sealed))
}

/** The headers that go with exactly these bytes. */
export async function signRequest(
  keys: ApiSecurityKeys,
  urlpath: string,
  { timestamp }: Freshness,
  body: Buffer
): Promise<Record<string, string>> {
  const key = { key: keys.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: SALT_BYTES }
  const text = Buffer.concat([signedHead(keys, urlpath, String(timestamp)), body])
  const signature = await signInPool(text, key)
  return {
    'wechatmp-appid': keys.appid,
    'wechatmp-timestamp': String(timestamp),
    'wechatmp-signature': signature.toString('base64')
  }
}
