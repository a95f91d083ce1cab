/**
 * Accounts that belong to nobody, made when needed: for development, and for tests that need all keys of a merchant.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import type { PlatformCertificate, SandboxApp, SandboxMerchant } from './options.ts'
import { makeSerial } from './wire/random.ts'
import { makeCertificate } from './wire/x509.ts'

const YEAR_MS = 365 * 24 * 3600 * 1000

const hex = (bytes: number) => randomBytes(bytes).toString('hex')

const makeKey = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
const privatePem = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString()
const publicPem = (key: KeyObject) => createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()

/** `now`: milliseconds since 1970; the certificate is good from a day before, for `years`. */
export interface KeyInput {
  now?: number
  commonName?: string
  /** 40 hex digits, the first of them at most 7; default random. */
  serial?: string
  years?: number
  /** IPv4 addresses and host names. */
  altNames?: string[]
}

/** A new RSA key with a self-signed certificate. */
export function makeCertified(input: KeyInput = {}): PlatformCertificate & { serial: string } {
  const { now = Date.now(), commonName = 'throw-away', serial = makeSerial(), years = 5, altNames = [] } = input
  const privateKey = makeKey()
  const notBefore = now - 24 * 3600 * 1000
  const notAfter = notBefore + years * YEAR_MS
  const certificatePem = makeCertificate({ commonName, privateKey, serial, notBefore, notAfter, altNames })
  return { certificatePem, privateKeyPem: privatePem(privateKey), serial }
}

/** What the gateway is told of a merchant. */
export interface MerchantSecrets {
  mchid: string
  apiV2Key: string
  apiV3Key: string
  certSerial: string
  certificatePem: string
  privateKeyPem: string
  /** Public-key mode only. */
  publicKeyId?: string
  publicKeyPem?: string
}

export interface ThrowAwayMerchant {
  /** For startSandbox(). */
  merchant: SandboxMerchant
  secrets: MerchantSecrets
}

export interface MerchantInput {
  mchid?: string
  appids: string[]
  /** What WeChat signs with; default public-key. */
  mode?: 'public-key' | 'certificates' | 'both'
  now?: number
}

/** Takes some hundred milliseconds: RSA keys are searched for. */
export function makeMerchant({
  mchid = '1900000109',
  appids,
  mode = 'public-key',
  now
}: MerchantInput): ThrowAwayMerchant {
  const own = makeCertified({ commonName: mchid, ...(now !== undefined && { now }) })
  const keys = { mchid, apiV2Key: hex(16), apiV3Key: hex(16) }
  const platform = mode === 'certificates' ? undefined : makeKey()
  const id = `PUB_KEY_ID_01${mchid}${randomBytes(8).readBigUInt64BE().toString().padStart(20, '0')}`
  const { certificatePem } = own
  const v3 = {
    apiV3Key: keys.apiV3Key,
    ...(platform && { publicKey: { id, privateKeyPem: privatePem(platform) } }),
    ...(mode !== 'public-key' && { certificates: [makeCertified({ ...(now !== undefined && { now }) })] })
  }
  return {
    merchant: { mchid, apiV2Key: keys.apiV2Key, appids, certificatePem, v3 },
    secrets: {
      ...keys,
      certSerial: own.serial,
      certificatePem,
      privateKeyPem: own.privateKeyPem,
      ...(platform && { publicKeyId: id, publicKeyPem: publicPem(platform) })
    }
  }
}

export function makeApp(appid = `wx${hex(8)}`): SandboxApp {
  return { appid, secret: hex(16), unionids: true }
}
