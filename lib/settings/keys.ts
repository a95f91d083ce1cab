/** Keys of our own: what seals data at rest and what signs tokens. */

import { createHash, createHmac, createPublicKey, type KeyObject } from 'node:crypto'
import { readPrivateKey, unescapePem } from '../crypto/pem.ts'
import type { EncryptionKey } from '../crypto/seal.ts'
import { decodeCanonicalBase64 } from '../util/bytes.ts'
import { missing } from './environment.ts'
import type { Issues } from './issues.ts'
import type { JwtKey } from './model.ts'
import { notesOf } from './notes.ts'
import { checkDistinct, readEach, readOne } from './reader.ts'
import { Environment } from './schema.ts'

const PEM = /-----BEGIN ([A-Z ]+)-----.*?-----END \1-----/gs

export function readEncryptionKeys(text: string, issues: Issues): EncryptionKey[] {
  const found = readEach(issues, 'ENCRYPTION_KEYS', text, readEncryptionKey)
  const ids = found.map(({ id }) => id)
  checkDistinct(issues, 'ENCRYPTION_KEYS', ids, 'id')
  return found
}

export function readJwtKeys(env: Environment, issues: Issues): JwtKey[] {
  const { JWT_KEYS: pems, JWT_SECRET: secret } = env
  if (pems === undefined && secret === undefined) issues.add('JWT_KEYS', missing('JWT_KEYS'))
  if (pems !== undefined && secret !== undefined) issues.add('JWT_KEYS', 'and JWT_SECRET are both given; keep one')
  const hmac = secret === undefined ? [] : readSecret(secret, issues)
  return pems === undefined ? hmac : readPems(unescapePem(pems), issues)
}

function readEncryptionKey(entry: string): EncryptionKey | undefined {
  const [, id, encoded] = /^([A-Za-z0-9_-]{1,16}):(.+)$/.exec(entry) ?? []
  const key = decodeCanonicalBase64(encoded ?? '')
  return id === undefined || key?.length !== 32 ? undefined : { id, key }
}

function readPems(text: string, issues: Issues): JwtKey[] {
  const blocks = text.match(PEM) ?? []
  const { rule } = notesOf(Environment.properties.JWT_KEYS)
  if (blocks.length === 0 || text.replaceAll(PEM, '').trim() !== '') issues.add('JWT_KEYS', rule)
  const found = blocks.flatMap((block, index) => {
    const key = readJwtKey(block)
    if (key === undefined)
      issues.add('JWT_KEYS', `key ${index + 1} must be an unencrypted private key, P-256 or Ed25519`)
    return key ?? []
  })
  const kids = found.map(({ kid }) => kid)
  checkDistinct(issues, 'JWT_KEYS', kids, 'key')
  return found
}

/** Answers PKCS #8 and SPKI whatever form the key came in, so that one form is all that the JWT library meets. */
function readJwtKey(pem: string): JwtKey | undefined {
  const key = readPrivateKey(pem)
  const alg = key && algorithmOf(key)
  if (key === undefined || alg === undefined) return undefined
  const publicKey = createPublicKey(key)
  return {
    kid: thumbprint(publicKey),
    alg,
    signingKey: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    verifyingKey: publicKey.export({ type: 'spki', format: 'pem' }).toString()
  }
}

function algorithmOf(key: KeyObject): 'ES256' | 'EdDSA' | undefined {
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA'
  return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? 'ES256' : undefined
}

/** RFC 7638: SHA-256 over the required members of the public JWK in alphabetical order (`y` is absent for Ed25519). */
function thumbprint(publicKey: KeyObject): string {
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' })
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
}

/** A PEM is refused: the JWT library would take it for an asymmetric key and fail at the first login. */
function readSecret(secret: string, issues: Issues): JwtKey[] {
  const isLong = Buffer.byteLength(secret) >= 32 && !secret.includes('-----BEGIN')
  const text = readOne(issues, 'JWT_SECRET', secret, () => (isLong ? secret : undefined))
  const kid = createHmac('sha256', text).update('wxgate kid').digest('base64url').slice(0, 16)
  return [{ kid, alg: 'HS256', signingKey: text, verifyingKey: text }]
}
