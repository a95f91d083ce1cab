/**
 * The bill of APIv2 (docs/wechat/pay.md A7): CSV, packed or not, without any signature. Failures come as XML at the
 * same address, so the first bytes show which it is.
 */
import type { Readable } from 'node:stream'
import { ServiceError } from '../../errors.ts'
import { collect, FileCheck, openChecked, peek } from '../../http/checked-file.ts'
import type { OpenIncoming } from '../../http/exchange.ts'
import { MAX_XML_BYTES, parseAnswerXml } from '../../xml/read.ts'
import { BILL_IN_THE_MAKING, NO_BILL } from '../model.ts'
import type { BadV2, FailedV2 } from './answer.ts'
import { asServiceErrorV2 } from './errors.ts'

export type BillAnswerV2 = { status: 'ok'; csv: Readable } | FailedV2 | BadV2

const XML_START = Buffer.from('<xml>')

/**
 * Reads the beginning of an answer, and all of a failure, which has WeChat's words. Only the connection proves either:
 * connection, so a file is one only with HTTP 200: what stands between us and WeChat has its own words for failures.
 */
export async function readBillV2({ status, body }: OpenIncoming): Promise<BillAnswerV2> {
  const { start, all } = await peek(body, XML_START.length)
  if (start.equals(XML_START)) return readFailure(await collect(all, MAX_XML_BYTES))
  const isText = start.length > 0 && start[0] !== XML_START[0]
  if (status === 200 && isText) return { status: 'ok', csv: openChecked(all, isGzip(start), new TextCheck()) }
  body.destroy()
  return { status: 'bad', reason: 'shape' }
}

const isGzip = (start: Buffer): boolean => start[0] === 0x1f && start[1] === 0x8b

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
  const xml = parseAnswerXml(body)
  if (xml.status === 'refused') return { status: 'bad', reason: xml.reason }
  const said = ['return_msg', 'err_code', 'err_code_des'].map((name) => xml.fields.get(name) ?? '')
  return { status: 'failed', message: said.filter((words) => words !== '').join(': ') }
}

/** Nothing more is known of it: that gzip's own checksum is right, and that it is text to its last character. */
class TextCheck extends FileCheck {
  readonly #decoder = new TextDecoder('utf-8', { fatal: true })

  protected override look(piece: Buffer): void {
    this.#decoder.decode(piece, { stream: true })
  }

  protected override conclude(): void {
    this.#decoder.decode()
  }
}
