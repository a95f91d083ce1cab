/** Builds the notifications of APIv3: sealed once, signed anew at every try. */
import type { MerchantAccount } from '../state/merchants-v3.ts'
import { type Signer, stranger } from '../state/platform-keys.ts'
import { signatureHeaders } from '../upstream/v3-answer-signature.ts'
import { sealResource } from '../wire/aead.ts'
import { merge } from '../wire/json.ts'
import { makeSealNonce, makeSerial } from '../wire/random.ts'
import { rfc3339 } from '../wire/time.ts'
import type { World } from '../world.ts'
import { ActError } from './act.ts'
import type { Notice } from './deliver.ts'
import type { Changes } from './notice-changes.ts'

/** What a notification tells. */
export interface Happening {
  id: string
  /** Milliseconds since 1970. */
  at: number
  eventType: string
  summary: string
  originalType: 'transaction' | 'refund'
  fields: Record<string, unknown>
}

function envelope({ apiV3Key }: MerchantAccount, happening: Happening, changes: Changes): Record<string, unknown> {
  const { overrides = {}, plaintext = JSON.stringify(merge(happening.fields, overrides)), sealKey = apiV3Key } = changes
  const { originalType } = happening
  return {
    id: happening.id,
    create_time: rfc3339(happening.at),
    resource_type: 'encrypt-resource',
    event_type: happening.eventType,
    summary: happening.summary,
    resource: { original_type: originalType, ...sealResource(sealKey, makeSealNonce(), originalType, plaintext) }
  }
}

function signerOf({ mchid, platform }: MerchantAccount, signBy: string | undefined): Signer {
  if (signBy === undefined || (signBy === 'certificate' && platform.signing().length > 0)) return platform.byDefault()
  if (signBy === 'unknown-certificate') return stranger(makeSerial())
  if (signBy === 'unknown-public-key') return stranger(`PUB_KEY_ID_${makeSerial().replace(/\D/g, '0')}`)
  const signer = signBy === 'public-key' ? platform.publicKey : platform.find(signBy)
  if (signer === undefined) throw new ActError(404, `${mchid} has no platform key ${signBy}`)
  return signer
}

function checkKeys({ apiV3Key }: MerchantAccount, { sealKey = apiV3Key }: Changes): void {
  if (Buffer.byteLength(sealKey) !== 32) throw new ActError(400, 'sealKey must have 32 bytes')
}

function changeHeaders(headers: Record<string, string>, changes: Record<string, string | null> = {}) {
  const lowered = Object.entries(changes).map(([name, value]) => [name.toLowerCase(), value] as const)
  const all = { ...headers, ...Object.fromEntries(lowered) }
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null))
}

/**
 * Returns the maker of tries. Each try has its own timestamp, nonce and signature; id and body are the same. Throws
 * ActError.
 */
export function v3Notice(
  world: World,
  account: MerchantAccount,
  happening: Happening,
  changes: Changes
): (number: number) => Notice {
  checkKeys(account, changes)
  const fields = merge(envelope(account, happening, changes), changes.envelope ?? {})
  const text = changes.body ?? JSON.stringify(fields)
  const { tamper, signBy, signature, signTests = 0, skewSeconds } = changes
  signerOf(account, signBy)
  return (number) => {
    const fault = number < signTests ? 'signtest' : signature
    const signed = signatureHeaders(world, signerOf(account, signBy), text, fault, skewSeconds)
    const body = tamper === undefined ? signed.body : JSON.stringify(merge(fields, tamper))
    return { contentType: 'application/json', body, headers: changeHeaders(signed.headers, changes.headers) }
  }
}
