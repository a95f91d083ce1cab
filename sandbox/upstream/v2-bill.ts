/** POST /pay/downloadbill (v2): CSV or gzip that nobody signed; a failure is XML. */
import { gzipSync } from 'node:zlib'
import type { World } from '../world.ts'
import { type BillType, findBill } from './bill-content.ts'
import { BusinessRefused, describe, MessageRefused, readMessage, unsigned } from './pay-v2.ts'
import type { Answer, Incoming, Upstream } from './serve.ts'
import { checkIdentities, optional, required } from './v2-fields.ts'

const MISSING = { creating: 'Bill Creating', none: 'NO Bill Exist', gone: 'NO Bill Exist' } as const
const TYPES = new Set(['ALL', 'SUCCESS', 'REFUND'])

function dateOf(text: string): string {
  const parts = /^(\d{4})(\d\d)(\d\d)$/.exec(text)
  if (parts === null) throw new MessageRefused('invalid bill_date')
  return parts.slice(1).join('-')
}

function bill(world: World, request: Incoming): Answer {
  const message = readMessage(world, request)
  checkIdentities(world, message)
  const { mchid } = message.merchant
  const date = dateOf(required(message, 'bill_date'))
  const type = optional(message, 'bill_type') ?? 'ALL'
  if (!TYPES.has(type)) throw new MessageRefused('invalid bill_type')
  const outcome = findBill(world, { mchid, kind: 'trade', date }, type as BillType)
  if ('missing' in outcome) throw new MessageRefused(MISSING[outcome.missing])
  const isGzip = optional(message, 'tar_type') === 'GZIP'
  const body = isGzip ? gzipSync(outcome.csv) : Buffer.from(outcome.csv)
  return { contentType: isGzip ? 'application/x-gzip' : 'text/plain', body, errcode: 0 }
}

export const downloadBill: Upstream = {
  api: 'downloadbill',
  url: '/pay/downloadbill',
  describe: (_world, request) => describe(request),
  answer(world, request) {
    try {
      return bill(world, request)
    } catch (error) {
      if (error instanceof MessageRefused || error instanceof BusinessRefused) return unsigned(error.message)
      throw error
    }
  },
  refuse: (_world, _request, { errcode, errmsg = '系统繁忙，请稍后再试' }) =>
    unsigned(errmsg, errcode === undefined ? {} : { error_code: String(errcode) })
}
