/** Self-signed X.509 certificates, thrown away after use: node:crypto reads certificates but cannot make any. */
import { createPublicKey, type KeyObject, sign } from 'node:crypto'

const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const NULL = 0x05
const UTF8_STRING = 0x0c
const SEQUENCE = 0x30
const SET = 0x31
const UTC_TIME = 0x17

const COMMON_NAME = Buffer.from('0603550403', 'hex')
const SHA256_WITH_RSA = Buffer.from('06092a864886f70d01010b', 'hex')
const SUBJECT_ALT_NAME = Buffer.from('0603551d11', 'hex')

/** One value of DER (X.690): tag, length, contents. */
function der(tag: number, ...contents: Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  const { length } = content
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content])
  const hex = length.toString(16)
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
  return Buffer.concat([Buffer.from([tag, 0x80 | bytes.length]), bytes, content])
}

const algorithm = der(SEQUENCE, SHA256_WITH_RSA, der(NULL))

/** Two digits of the year: good for 1950 to 2049. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/\D/g, '').slice(2, 14)
  return der(UTC_TIME, Buffer.from(`${digits}Z`))
}

function commonName(text: string): Buffer {
  return der(SEQUENCE, der(SET, der(SEQUENCE, COMMON_NAME, der(UTF8_STRING, Buffer.from(text)))))
}

/** Who may be called by it: host names, and IPv4 addresses. */
function altNames(names: string[]): Buffer {
  const entries = names.map((name) =>
    /^[\d.]+$/.test(name) ? der(0x87, Buffer.from(name.split('.').map(Number))) : der(0x82, Buffer.from(name))
  )
  const extension = der(SEQUENCE, SUBJECT_ALT_NAME, der(OCTET_STRING, der(SEQUENCE, ...entries)))
  return der(0xa3, der(SEQUENCE, extension))
}

export interface CertificateInput {
  commonName: string
  privateKey: KeyObject
  /** 40 hex digits, the first of them at most 7. */
  serial: string
  /** Milliseconds since 1970, before 2050. */
  notBefore: number
  notAfter: number
  altNames?: string[]
}

/** PEM. Version 3, RSA with SHA-256, signed by the very key that it certifies. */
export function makeCertificate(input: CertificateInput): string {
  const { privateKey, serial, notBefore, notAfter, altNames: names = [] } = input
  const name = commonName(input.commonName)
  const content = der(
    SEQUENCE,
    der(0xa0, der(INTEGER, Buffer.from([2]))),
    der(INTEGER, integerBytes(serial)),
    algorithm,
    name,
    der(SEQUENCE, time(notBefore), time(notAfter)),
    name,
    createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    ...(names.length === 0 ? [] : [altNames(names)])
  )
  const signature = der(BIT_STRING, Buffer.from([0]), sign('sha256', content, privateKey))
  return pem(der(SEQUENCE, content, algorithm, signature))
}

/** DER has no leading zeros but the one that keeps a number positive. */
function integerBytes(hex: string): Buffer {
  const bytes = Buffer.from(hex, 'hex')
  const first = bytes.findIndex((byte) => byte !== 0)
  return (bytes[first] ?? 0) < 0x80 ? bytes.subarray(first) : bytes.subarray(first - 1)
}

function pem(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}
