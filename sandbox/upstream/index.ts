/** WeChat's side. A new API is a file beside this one and a line in this list. */
import type { FastifyPluginAsync } from 'fastify'
import type { World } from '../world.ts'
import { callbackIp } from './callback-ip.ts'
import { code2session } from './code2session.ts'
import { mediaUpload } from './media-upload.ts'
import { phoneNumber } from './phone-number.ts'
import { unlimitedQrCode } from './qr-code.ts'
import { messageCheck, userRiskRank } from './safety.ts'
import { serve, type Upstream } from './serve.ts'
import { checkSession, resetSessionKey } from './session-key.ts'
import { stableToken } from './stable-token.ts'
import { subscribeSend } from './subscribe-send.ts'
import { unifiedOrder } from './unified-order.ts'
import { downloadBill } from './v2-bill.ts'
import { closeOrder, orderQuery } from './v2-orders.ts'
import { v2Refund } from './v2-refund.ts'
import { refundQuery } from './v2-refund-query.ts'
import { v3BillDownload, v3FundFlowBill, v3TradeBill } from './v3-bills.ts'
import { v3Certificates } from './v3-certificates.ts'
import { v3Close, v3QueryById, v3QueryByNumber } from './v3-orders.ts'
import { v3Prepay } from './v3-prepay.ts'
import { v3Refund, v3RefundQuery } from './v3-refund.ts'

const UPSTREAMS: Upstream[] = [
  code2session,
  stableToken,
  phoneNumber,
  unifiedOrder,
  checkSession,
  resetSessionKey,
  unlimitedQrCode,
  messageCheck,
  subscribeSend,
  userRiskRank,
  callbackIp,
  mediaUpload,
  orderQuery,
  closeOrder,
  v2Refund,
  refundQuery,
  downloadBill,
  v3Prepay,
  v3QueryByNumber,
  v3QueryById,
  v3Close,
  v3Refund,
  v3RefundQuery,
  v3Certificates,
  v3TradeBill,
  v3FundFlowBill,
  v3BillDownload
]

/**
 * Bodies are taken raw, because WeChat ignores the Content-Type. Each API refuses a wrong method itself, in its own
 * form.
 */
export function upstreamRoutes(world: World): FastifyPluginAsync {
  return async (app) => {
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    for (const upstream of UPSTREAMS) {
      const { url, bodyLimitBytes: bodyLimit } = upstream
      app.route({ method: ['GET', 'POST'], url, handler: serve(world, upstream), ...(bodyLimit && { bodyLimit }) })
    }
  }
}
