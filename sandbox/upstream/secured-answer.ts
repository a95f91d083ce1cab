/**
 * Encrypts and signs an answer of the API security mode, correctly or in one of the wrong ways that a gateway must
 * notice.
 */
import { randomBytes } from 'node:crypto'
import type { SecurityFault } from '../state/faults.ts'
import { additionalData, type Binding, type Sealed, seal, sign } from '../wire/api-security.ts'
import type { World } from '../world.ts'
import type { Opened } from './secured-request.ts'
import type { Answer } from './serve.ts'

const STRANGER = 'wxffffffffffffffff'
/** Twice what is allowed. */
const OLD_SECONDS = 600

/** Pictures go out as they are: no page says how they would be sealed, and the seal is one of JSON. */
export function sealAnswer(world: World, opened: Opened, answer: Answer, fault?: SecurityFault): Answer {
  if (Buffer.isBuffer(answer.body) || fault === 'plain') return answer
  const age = fault === 'timestamp' ? OLD_SECONDS : 0
  const binding = { ...opened.binding, timestamp: Math.floor(world.now() / 1000) - age }
  const sealed = spoilSeal(sealBody(opened, binding, answer.body, fault), fault)
  const headers = fault === 'unsigned' ? {} : signatureHeaders(opened, binding, JSON.stringify(sealed), fault)
  const body = JSON.stringify(fault === 'body' ? flipData(sealed) : sealed)
  return { ...answer, contentType: 'application/json; charset=UTF-8', body, headers }
}

/** The text is extended, not parsed: it may hold numbers that a double cannot. */
function sealBody({ security }: Opened, binding: Binding, body: string, fault?: SecurityFault): Sealed {
  const own = {
    _n: randomBytes(16).toString('base64').replace(/=+$/, ''),
    _appid: fault === 'inner-appid' ? STRANGER : binding.appid,
    _timestamp: binding.timestamp - (fault === 'inner-timestamp' ? 1 : 0)
  }
  const plaintext = `${JSON.stringify(own).slice(0, -1)},${body.slice(1)}`
  return seal(security.symKey, additionalData(binding, security.symSerial), plaintext)
}

/** Before the signature: that one is right, and only the seal gives it away. */
function spoilSeal(sealed: Sealed, fault?: SecurityFault): Sealed {
  if (fault === 'ciphertext') return flipData(sealed)
  if (fault === 'tag') return { ...sealed, authtag: Buffer.from(sealed.authtag, 'base64').toString('base64', 0, 4) }
  return sealed
}

function flipData(sealed: Sealed): Sealed {
  const bytes = Buffer.from(sealed.data, 'base64')
  bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0)
  return { ...sealed, data: bytes.toString('base64') }
}

function signatureHeaders({ security }: Opened, binding: Binding, body: string, fault?: SecurityFault) {
  const { platform, deprecated } = security
  const signed = { ...binding, timestamp: binding.timestamp + (fault === 'signature' ? 1 : 0) }
  const isStrange = fault === 'serial'
  return {
    'Wechatmp-Appid': fault === 'appid' ? STRANGER : binding.appid,
    'Wechatmp-TimeStamp': String(binding.timestamp),
    'Wechatmp-Serial': isStrange ? randomBytes(16).toString('hex') : platform.serial,
    'Wechatmp-Signature': sign(platform.key, signed, body),
    ...(deprecated &&
      !isStrange && {
        'Wechatmp-Serial-Deprecated': deprecated.serial,
        'Wechatmp-Signature-Deprecated': sign(deprecated.key, signed, body)
      })
  }
}
