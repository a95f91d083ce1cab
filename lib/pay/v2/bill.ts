/**
 * The bill of APIv2 (pay.md A7): CSV, packed or not, without any signature. Failures come as XML at the same address, so the
 * first bytes tell which it is.
 */
import { pipeline, Readable, Transform } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { ServiceError } from '../../errors.ts'
import { BILL_IN_THE_MAKING, brokenFile, collect, NO_BILL, peek } from '../bill-file.ts'
import { MAX_XML_BYTES, parseFlatXml } from '../xml.ts'
import type { BadV2, FailedV2 } from './answer.ts'
import { asServiceErrorV2 } from './errors.ts'

export type BillAnswerV2 = { status: 'ok'; csv: Readable } | FailedV2 | BadV2

const XML_START = Buffer.from('<xml>')

/** Reads the beginning of an answer, and all of a failure, which has WeChat's words. Nobody vouches for either but the connection. */
export async function readBillV2(answer: Readable): Promise<BillAnswerV2> {
  const { start, all } = await peek(answer, XML_START.length)
  if (start[0] === 0x1f && start[1] === 0x8b) return { status: 'ok', csv: unpack(Readable.from(all)) }
  if (start.equals(XML_START)) return readFailure(await collect(all, MAX_XML_BYTES))
  if (start.length > 0 && start[0] !== '<'.charCodeAt(0)) return { status: 'ok', csv: asText(Readable.from(all)) }
  answer.destroy()
  return { status: 'bad', reason: 'shape' }
}

/** The error for our caller. WeChat has spelt these words differently over the years. */
export function billErrorV2(answer: FailedV2 | BadV2): ServiceError {
  if (answer.status === 'bad') return asServiceErrorV2('downloadbill', answer)
  const options = { wechat: { code: 'FAIL', message: answer.message }, detail: 'downloadbill failed' }
  const words = answer.message.toLowerCase()
  if (words.includes('no bill exist')) return new ServiceError('NOT_FOUND', { ...options, ...NO_BILL })
  if (words.includes('bill creating')) return new ServiceError('WECHAT_BUSY', { ...options, ...BILL_IN_THE_MAKING })
  if (/systemerror|compressgzip/.test(words)) return new ServiceError('WECHAT_BUSY', options)
  return asServiceErrorV2('downloadbill', answer)
}

function readFailure(body: Buffer): FailedV2 | BadV2 {
  const xml = parseFlatXml(body)
  if (xml.status === 'refused') return { status: 'bad', reason: xml.reason }
  const said = ['return_msg', 'err_code', 'err_code_des'].map((name) => xml.fields.get(name) ?? '')
  return { status: 'failed', message: said.filter((words) => words !== '').join(': ') }
}

/** Ends with WECHAT_BAD_RESPONSE where it is not whole: gzip carries a checksum of what is in it. */
function unpack(packed: Readable): Readable {
  const csv = new Transform({
    transform: (chunk, _encoding, done) => done(null, chunk),
    destroy: (error, done) => done(error && brokenFile(error))
  })
  pipeline(packed, createGunzip(), csv, () => undefined)
  return csv
}

/** What is not packed has to be text. */
function asText(answer: Readable): Readable {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const csv = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      decoder.decode(chunk, { stream: true })
      done(null, chunk)
    },
    flush(done) {
      decoder.decode()
      done()
    },
    destroy: (error, done) => done(error && brokenFile(error))
  })
  pipeline(answer, csv, () => undefined)
  return csv
}
