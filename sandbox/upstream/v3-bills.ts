/** Bills (v3): applied for, then downloaded from the address that the answer names. */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import type { BillKind } from '../state/bills.ts'
import type { World } from '../world.ts'
import { type BillAbsence, type BillType, findBill } from './bill-content.ts'
import { payV3, type V3Message, V3Refused, type V3Result } from './pay-v3.ts'

const MISSING: Record<BillAbsence, [code: string, message: string]> = {
  creating: ['STATEMENT_CREATING', '账单生成中，请稍后再试'],
  none: ['NO_STATEMENT_EXIST', '账单文件不存在'],
  gone: ['PARAM_ERROR', '仅支持三个月内的账单下载申请']
}

function oneOf<T extends string>({ query }: V3Message, name: string, allowed: readonly T[]): T {
  const value = query[name] ?? allowed[0]
  const found = allowed.find((text) => text === value)
  if (found === undefined)
    throw new V3Refused('PARAM_ERROR', `参数错误:${name}`, { field: name, issue: 'unknown value', location: 'query' })
  return found
}

function dateOf({ query }: V3Message): string {
  const date = String(query.bill_date)
  const ms = /^\d{4}-\d\d-\d\d$/.test(date) ? Date.parse(`${date}T00:00:00Z`) : Number.NaN
  if (!Number.isNaN(ms) && new Date(ms).toISOString().startsWith(date)) return date
  throw new V3Refused('PARAM_ERROR', '参数错误:bill_date', { field: 'bill_date', issue: 'no date', location: 'query' })
}

/** The hash is that of the bill before compression. */
function offer(world: World, message: V3Message, kind: BillKind, type: BillType): V3Result {
  const { mchid } = message.account
  const isGzip = message.query.tar_type !== undefined && oneOf(message, 'tar_type', ['GZIP']) === 'GZIP'
  const outcome = findBill(world, { mchid, kind, date: dateOf(message) }, type)
  if ('missing' in outcome) throw new V3Refused(...MISSING[outcome.missing])
  const bytes = Buffer.from(outcome.csv)
  const token = world.bills.offer(mchid, isGzip ? gzipSync(bytes) : bytes)
  return {
    json: {
      hash_type: 'SHA1',
      hash_value: createHash('sha1').update(bytes).digest('hex'),
      download_url: `${message.origin}/v3/billdownload/file?token=${token}${isGzip ? '&tartype=gzip' : ''}`
    }
  }
}

export const v3TradeBill = payV3({
  api: 'v3_trade_bill',
  url: '/v3/bill/tradebill',
  method: 'GET',
  work: (world, message) => offer(world, message, 'trade', oneOf(message, 'bill_type', ['ALL', 'SUCCESS', 'REFUND']))
})

export const v3FundFlowBill = payV3({
  api: 'v3_fundflow_bill',
  url: '/v3/bill/fundflowbill',
  method: 'GET',
  work(world, message) {
    oneOf(message, 'account_type', ['BASIC', 'OPERATION', 'FEES'])
    return offer(world, message, 'fundflow', 'ALL')
  }
})

/** Signed like any request; the file that comes is not. */
export const v3BillDownload = payV3({
  api: 'v3_bill_download',
  url: '/v3/billdownload/file',
  method: 'GET',
  work(world, { account, query }) {
    const download = world.bills.download(String(query.token))
    if (download === undefined) throw new V3Refused('INVALID_REQUEST', 'token无效或已过期')
    if (download.mchid !== account.mchid) throw new V3Refused('NO_AUTH', '无权下载其他商户的账单')
    return { file: download.file, contentType: 'application/octet-stream' }
  }
})
