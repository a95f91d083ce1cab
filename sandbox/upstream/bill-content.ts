/** What stands in a bill: CSV whose values begin with a back-tick, amounts in yuan. */
import type { BillName } from '../state/bills.ts'
import type { Order } from '../state/orders.ts'
import type { Refund } from '../state/refunds.ts'
import { beijingText } from '../wire/time.ts'
import type { World } from '../world.ts'

export type BillType = 'ALL' | 'SUCCESS' | 'REFUND'

const TRADE_HEADER = [
  '交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态',
  '付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型',
  '退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注'
].join(',')
const TRADE_SUMMARY = '总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额'
const FLOW_HEADER =
  '记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额(元),账户结余(元),资金变更提交申请人,备注,业务凭证号'
const FLOW_SUMMARY = '资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额'

/** The merchant pays 0.6 % of what it takes. */
const FEE_RATE = 0.006

interface Row {
  at: number
  payment?: Order
  refund?: Refund
  /** Positive: income. */
  fen: number
}

const yuan = (fen: number) => (fen / 100).toFixed(2)
const fee = (fen: number) => ((fen * FEE_RATE) / 100).toFixed(5)
const line = (values: string[]) => values.map((value) => `\`${value}`).join(',')
const sum = (rows: Row[], of: (row: Row) => number) => rows.reduce((total, row) => total + of(row), 0)
const isIncome = ({ fen }: Row) => fen > 0

function csv(header: string, rows: string[], summaryHeader: string, summary: string[]): string {
  return `\ufeff${[header, ...rows, summaryHeader, line(summary)].join('\r\n')}\r\n`
}

function rowsOf({ orders }: World, { mchid, date }: BillName): Row[] {
  const rows = orders
    .ofMerchant(mchid)
    .flatMap((order): Row[] => [
      ...(order.payment === undefined ? [] : [{ at: order.payment.paidAt, payment: order, fen: order.totalFen }]),
      ...order.refunds
        .filter(({ state }) => state !== 'CLOSED')
        .map((refund) => ({ at: refund.createdAt, refund, fen: -refund.refundFen }))
    ])
  return rows.filter(({ at }) => beijingText(at).startsWith(date)).sort((a, b) => a.at - b.at)
}

function orderOf({ payment, refund }: Row): Order | undefined {
  return payment ?? refund?.order
}

function tradeLine(row: Row): string {
  const order = orderOf(row)
  const { refund, fen } = row
  const paid = yuan(Math.max(0, fen))
  const back = yuan(Math.max(0, -fen))
  return line([
    beijingText(row.at),
    ...[order?.appid ?? '', order?.mchid ?? '', '0', order?.deviceInfo ?? ''],
    ...[order?.payment?.transactionId ?? '', order?.outTradeNo ?? '', order?.openid ?? '', 'JSAPI'],
    ...[refund === undefined ? 'SUCCESS' : 'REFUND', 'OTHERS', 'CNY', paid, '0.00'],
    ...[refund?.refundId ?? '0', refund?.outRefundNo ?? '0', back, '0.00'],
    ...[refund === undefined ? '' : 'ORIGINAL', refund?.state ?? ''],
    ...[order?.description ?? '', order?.attach ?? '', fee(fen), '0.60%', paid, back, '']
  ])
}

function tradeBill(rows: Row[]): string {
  const paid = yuan(sum(rows, ({ fen }) => Math.max(0, fen)))
  const back = yuan(sum(rows, ({ fen }) => Math.max(0, -fen)))
  const fees = fee(sum(rows, ({ fen }) => fen))
  const summary = [String(rows.length), paid, back, '0.00', fees, paid, back]
  return csv(TRADE_HEADER, rows.map(tradeLine), TRADE_SUMMARY, summary)
}

function flowLine(row: Row, balanceFen: number): string {
  const order = orderOf(row)
  const isPayment = row.payment !== undefined
  const number = row.refund?.refundId ?? order?.payment?.transactionId ?? ''
  return line([
    ...[beijingText(row.at), number, number, isPayment ? '交易' : '退款', isPayment ? '交易' : '退款'],
    ...[isPayment ? '收入' : '支出', yuan(Math.abs(row.fen)), yuan(balanceFen), order?.mchid ?? '', ''],
    row.refund?.outRefundNo ?? order?.outTradeNo ?? ''
  ])
}

function flowBill(rows: Row[]): string {
  let balanceFen = 0
  const lines = rows.map((row) => {
    balanceFen += row.fen
    return flowLine(row, balanceFen)
  })
  const [income, expense] = [rows.filter(isIncome), rows.filter((row) => !isIncome(row))]
  const amount = (part: Row[]) => yuan(Math.abs(sum(part, ({ fen }) => fen)))
  const counts = [income, expense].flatMap((part) => [String(part.length), amount(part)])
  return csv(FLOW_HEADER, lines, FLOW_SUMMARY, [String(rows.length), ...counts])
}

/** undefined where nothing happened that day. */
export function billContent(world: World, name: BillName, type: BillType): string | undefined {
  const rows = rowsOf(world, name).filter((row) => type === 'ALL' || isIncome(row) === (type === 'SUCCESS'))
  if (rows.length === 0) return undefined
  return name.kind === 'trade' ? tradeBill(rows) : flowBill(rows)
}

export type BillAbsence = 'creating' | 'none' | 'gone'
export type BillOutcome = { csv: string } | { missing: BillAbsence }

/** What a test arranged comes before what happened, and before the hour. */
export function findBill(world: World, name: BillName, type: BillType = 'ALL'): BillOutcome {
  const script = world.bills.scriptOf(name)
  const status = script?.status ?? world.bills.age(name.date)
  if (status !== 'ready') return { missing: status }
  const csv = script?.csv ?? billContent(world, name, type)
  return csv === undefined ? { missing: 'none' } : { csv }
}
