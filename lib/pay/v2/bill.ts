/**
 * The bill of APIv2 (pay.md A7): CSV, packed or not, without any signature. Failures come as XML at the same address, so the
 * first bytes tell which it is.
 */
import { isUtf8 } from 'node:buffer'
import { pipeline, Readable, Transform } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { ServiceError } from '../../errors.ts'
import { parseFlatXml } from '../xml.ts'
import type { BadV2, FailedV2 } from './answer.ts'
import { asServiceErrorV2 } from './errors.ts'

export type BillAnswerV2 = { status: 'ok'; csv: () => Readable } | FailedV2 | BadV2

/** A bill is made in the morning (Beijing); nobody need ask again every second. */
const BILL_PAUSE_SECONDS = 600
const XML_START = Buffer.from('<xml>')

/** Reads an answer: a bill opens by `csv()`, a failure has WeChat's words. Nobody vouches for either but the connection. */
export function readBillV2(body: Buffer): BillAnswerV2 {
  if (isGzip(body)) return { status: 'ok', csv: () => unpack(body) }
  if (body.subarray(0, XML_START.length).equals(XML_START)) return readFailure(body)
  const isText = body.length > 0 && body[0] !== '<'.charCodeAt(0) && isUtf8(body)
  return isText ? { status: 'ok', csv: () => Readable.from([body]) } : { status: 'bad', reason: 'shape' }
}

/** The error for our caller. WeChat has spelt these words differently over the years. */
export function billErrorV2(answer: FailedV2 | BadV2): ServiceError {
  if (answer.status === 'bad') return asServiceErrorV2('downloadbill', answer)
  const options = { wechat: { code: 'FAIL', message: answer.message }, detail: 'downloadbill failed' }
  const words = answer.message.toLowerCase()
  if (words.includes('no bill exist'))
    return new ServiceError('NOT_FOUND', { ...options, message: 'There is no bill of this day' })
  if (words.includes('bill creating'))
    return new ServiceError('WECHAT_BUSY', {
      ...options,
      message: 'WeChat is still making this bill; try again after the time in Retry-After',
      retryAfterSeconds: BILL_PAUSE_SECONDS
    })
  if (/systemerror|compressgzip/.test(words)) return new ServiceError('WECHAT_BUSY', options)
  return asServiceErrorV2('downloadbill', answer)
}

const isGzip = (body: Buffer): boolean => body[0] === 0x1f && body[1] === 0x8b

function readFailure(body: Buffer): FailedV2 | BadV2 {
  const xml = parseFlatXml(body)
  if (xml.status === 'refused') return { status: 'bad', reason: xml.reason }
  const said = ['return_msg', 'err_code', 'err_code_des'].map((name) => xml.fields.get(name) ?? '')
  return { status: 'failed', message: said.filter((words) => words !== '').join(': ') }
}

/** Ends with WECHAT_BAD_RESPONSE where it is not whole: gzip carries a checksum of what is in it. */
function unpack(packed: Buffer): Readable {
  const csv = new Transform({
    transform: (chunk, _encoding, done) => done(null, chunk),
    destroy: (error, done) => done(error && brokenFile(error))
  })
  pipeline(Readable.from([packed]), createGunzip(), csv, () => undefined)
  return csv
}

const brokenFile = (cause: Error): ServiceError =>
  new ServiceError('WECHAT_BAD_RESPONSE', { detail: 'the bill broke off, or is not the gzip it should be', cause })
