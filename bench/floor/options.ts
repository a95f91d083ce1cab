/** What the floor is told by its environment, which is private between the benchmark and its process. */
import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'

export interface FloorOptions {
  redisSocket: string
  /** WeChat's origin. */
  upstream: string
  appid: string
  appSecret: string
  accessToken: string
  apiKey: string
  mchid: string
  apiV2Key: string
  apiV3Key: KeyObject
  /** WeChat Pay's. */
  publicKey: KeyObject
  pushToken: string
  pushAesKey: KeyObject
  pushIv: Buffer
  encryptionKey: KeyObject
  /** Secret: HS256. Private: ES256. */
  jwtKey: KeyObject
}

export type FloorEnvironment = Record<
  | 'REDIS_SOCKET'
  | 'UPSTREAM'
  | 'APPID'
  | 'APP_SECRET'
  | 'ACCESS_TOKEN'
  | 'API_KEY'
  | 'MCHID'
  | 'API_V2_KEY'
  | 'API_V3_KEY'
  | 'PUBLIC_KEY'
  | 'PUSH_TOKEN'
  | 'PUSH_AES_KEY'
  | 'ENCRYPTION_KEY'
  | 'JWT_KEY',
  string
>

export function readFloorOptions(env: NodeJS.ProcessEnv): FloorOptions {
  const given = env as FloorEnvironment
  const pushKey = Buffer.from(`${given.PUSH_AES_KEY}=`, 'base64')
  return {
    redisSocket: given.REDIS_SOCKET,
    upstream: given.UPSTREAM,
    appid: given.APPID,
    appSecret: given.APP_SECRET,
    accessToken: given.ACCESS_TOKEN,
    apiKey: given.API_KEY,
    mchid: given.MCHID,
    apiV2Key: given.API_V2_KEY,
    apiV3Key: createSecretKey(given.API_V3_KEY, 'utf8'),
    publicKey: createPublicKey(given.PUBLIC_KEY),
    pushToken: given.PUSH_TOKEN,
    pushAesKey: createSecretKey(pushKey),
    pushIv: pushKey.subarray(0, 16),
    encryptionKey: createSecretKey(given.ENCRYPTION_KEY, 'base64'),
    jwtKey: readJwtKey(given.JWT_KEY)
  }
}

const readJwtKey = (text: string): KeyObject =>
  text.startsWith('-----') ? createPrivateKey(text) : createSecretKey(text, 'utf8')
