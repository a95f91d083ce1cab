/** The Wechatpay-* headers of answers and callbacks, right, or spoilt on purpose. */
import type { SignatureFault } from '../state/faults.ts'
import { type Signer, stranger } from '../state/platform-keys.ts'
import { makeNonce, makeSerial } from '../wire/random.ts'
import { SCHEME, signMessage } from '../wire/v3-signature.ts'
import type { World } from '../world.ts'

const OUT_OF_WINDOW_SECONDS = 300

export interface SignedBody {
  headers: Record<string, string>
  body: string
}

/** Seconds that the timestamp is off, authentically. */
const SKEW: Partial<Record<SignatureFault, number>> = {
  stale: -OUT_OF_WINDOW_SECONDS,
  ahead: OUT_OF_WINDOW_SECONDS + 1
}

function spoil(signature: string, fault: SignatureFault | undefined): string {
  if (fault === 'wrong') return `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`
  // As long as a real one: who strips the prefix must not be caught by the length.
  if (fault === 'signtest') return `WECHATPAY/SIGNTEST/${signature.slice('WECHATPAY/SIGNTEST/'.length)}`
  return signature
}

/** `body` is a fault that changes one character after the signature was made. */
export function signatureHeaders(
  world: World,
  signer: Signer,
  body: string,
  fault?: SignatureFault,
  skewSeconds = 0
): SignedBody {
  if (fault === 'absent') return { headers: {}, body }
  const { serial, key } = fault === 'unknown-serial' ? stranger(makeSerial()) : signer
  const skew = skewSeconds + (fault === undefined ? 0 : (SKEW[fault] ?? 0))
  const timestamp = Math.floor(world.now() / 1000) + skew
  const nonce = makeNonce()
  const headers = {
    'wechatpay-timestamp': String(timestamp),
    'wechatpay-nonce': nonce,
    'wechatpay-signature': spoil(signMessage(key, timestamp, nonce, body), fault),
    'wechatpay-serial': serial,
    'wechatpay-signature-type': SCHEME
  }
  return { headers, body: fault === 'body' ? changed(body) : body }
}

/** Another text that is as good JSON as this one. */
function changed(body: string): string {
  return body.replace(/(?<=[{,:[])/, ' ')
}
