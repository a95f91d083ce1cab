/** Reads keys and certificates in PEM form. Answers undefined for what is none: the errors of node:crypto quote it. */

import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto'

const PUBLIC_KEY_HEADER = /^\s*-----BEGIN (?:RSA )?PUBLIC KEY-----/

/**
 * Env files and docker's `env_file` have no line breaks in values: there a PEM is written with `\n` as two characters.
 * Answers anything else as it is.
 */
export function unescapePem<T>(value: T | string): T | string {
  if (typeof value !== 'string' || !value.includes('-----BEGIN')) return value
  return value.replace(/(?:\\r)?\\n/g, '\n')
}

export function readPrivateKey(text: string): KeyObject | undefined {
  return attempt(() => createPrivateKey(text))
}

export function readRsaPrivateKey(text: string): KeyObject | undefined {
  return onlyRsa(readPrivateKey(text))
}

/** Checks the header, since `createPublicKey` takes private keys and certificates too, which would be a mix-up here. */
export function readRsaPublicKey(text: string): KeyObject | undefined {
  if (!PUBLIC_KEY_HEADER.test(text)) return undefined
  return onlyRsa(attempt(() => createPublicKey(text)))
}

export function readRsaCertificate(text: string): X509Certificate | undefined {
  const certificate = attempt(() => new X509Certificate(text))
  return onlyRsa(certificate?.publicKey) === undefined ? undefined : certificate
}

/** The serial number as WeChat Pay writes it: 40 hex digits in upper case, leading zeros kept. */
export function serialOf(certificate: X509Certificate): string {
  return certificate.serialNumber.toUpperCase().padStart(40, '0')
}

function onlyRsa(key: KeyObject | undefined): KeyObject | undefined {
  return key?.asymmetricKeyType === 'rsa' ? key : undefined
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
