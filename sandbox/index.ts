/**
 * A local server instead of WeChat, for development, the tour and tests. It is written only from the protocol pages and
 * shares no line with the gateway. Otherwise one mistake on both sides would look like agreement.
 */
import Fastify, { type FastifyInstance } from 'fastify'
import { type BillInput, bill } from './acts/bill.ts'
import { type RotateInput, type RotateResult, rotateCertificate } from './acts/certificates.ts'
import { actRoutes } from './acts/index.ts'
import { type LoginInput, type LoginResult, login } from './acts/login.ts'
import { type OpenDataInput, type OpenDataResult, openData } from './acts/open-data.ts'
import { type OrderView, order, type PlaceInput, place, type RefundView } from './acts/orders.ts'
import { type PayInput, type PayResult, pay } from './acts/pay.ts'
import { type PhoneButtonInput, type PhoneButtonResult, phoneButton } from './acts/phone-button.ts'
import { type PushInput, type PushResult, push } from './acts/push.ts'
import { type RefundActResult, type RefundInput, refund } from './acts/refund.ts'
import { type DropSessionKeyInput, dropSessionKey } from './acts/session-key.ts'
import { type SubscriptionInput, subscription } from './acts/subscription.ts'
import { type ExpireTokenInput, expireToken } from './acts/upkeep.ts'
import type { SandboxOptions } from './options.ts'
import type { Call, Received } from './state/calls.ts'
import type { Fault, SecurityFault, SignatureFault } from './state/faults.ts'
import { makeApp, makeCertified, makeMerchant } from './throw-away.ts'
import { listenTls, type TlsListener } from './tls.ts'
import { upstreamRoutes } from './upstream/index.ts'
import { createWorld, type World } from './world.ts'

export type { NoticeResult } from './acts/deliver.ts'
export type { PushDelivery, PushInput, PushResult } from './acts/push.ts'
export type {
  ApiSecurity,
  MerchantV3,
  PlatformCertificate,
  PlatformKey,
  PushSettings,
  SandboxApp,
  SandboxMerchant,
  SandboxOptions,
  TlsOptions
} from './options.ts'
export type { MerchantSecrets, ThrowAwayMerchant } from './throw-away.ts'
export type {
  BillInput,
  Call,
  DropSessionKeyInput,
  ExpireTokenInput,
  Fault,
  LoginInput,
  LoginResult,
  OpenDataInput,
  OpenDataResult,
  OrderView,
  PayInput,
  PayResult,
  PhoneButtonInput,
  PhoneButtonResult,
  PlaceInput,
  Received,
  RefundActResult,
  RefundInput,
  RefundView,
  RotateInput,
  RotateResult,
  SecurityFault,
  SignatureFault,
  SubscriptionInput
}
export { makeApp, makeCertified, makeMerchant }

export interface Sandbox {
  /** `http://host:port`: for WECHAT_API_ORIGIN and WECHAT_PAY_ORIGIN. */
  readonly origin: string
  /** `https://host:port`, with the option `tls`. */
  readonly tlsOrigin?: string
  /** What a client of tlsOrigin has to trust, PEM. */
  readonly tlsCertificatePem?: string
  /** wx.login. The user's session_key is renewed at this moment unless `keepSessionKey`. */
  login(input: LoginInput): LoginResult
  /** The getPhoneNumber button, for a user who has logged in. */
  phoneButton(input: PhoneButtonInput): PhoneButtonResult
  /** Profile, WeRun, share data: signed, and encrypted under the user's present session_key. */
  openData(input: OpenDataInput): OpenDataResult
  /** The order becomes paid, its notices go out; resolves with the answers to them. */
  pay(input: PayInput): Promise<PayResult>
  /** A refund comes to a result, its notices go out; resolves with the answers to them. */
  refund(input: RefundInput): Promise<RefundActResult>
  /** An order that another system of the merchant made. */
  place(input: PlaceInput): { prepayId: string; outTradeNo: string }
  /** A bill is there, is not, or says something else than what happened. */
  bill(input: BillInput): { arranged: true }
  /** WeChat Pay changes its platform certificate, stage by stage. */
  rotateCertificate(input: RotateInput): RotateResult
  /** A message, an event or the URL check goes to the app's push URL; resolves with the answers to it. */
  push(input: PushInput): Promise<PushResult>
  /** Throws where there is no such order. */
  order(outTradeNo: string, mchid?: string): OrderView
  /** Queues a fault. */
  fault(fault: Fault): void
  clearFaults(): void
  /** The newest 10,000 or so upstream calls since the start or the last clear, oldest first. */
  calls(): Call[]
  clearCalls(): void
  expireToken(input: ExpireTokenInput): { expired: boolean }
  /** The user's session_key vanishes at WeChat; their next login makes another. */
  dropSessionKey(input: DropSessionKeyInput): { dropped: boolean }
  /** The user allows or refuses subscribe messages. */
  subscription(input: SubscriptionInput): { accepted: boolean }
  /** Ends every connection, delay and notice under way. */
  close(): Promise<void>
}

function createServer(world: World): FastifyInstance {
  const app = Fastify({
    logger: false,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 500 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } }
  })
  app.register(upstreamRoutes(world))
  app.register(actRoutes(world), { prefix: '/sandbox' })
  app.addHook('preClose', async () => world.closing.abort())
  app.addHook('onClose', async () => world.dispatcher.destroy())
  return app
}

async function startTls(
  app: FastifyInstance,
  { host = '127.0.0.1', tls }: SandboxOptions
): Promise<TlsListener | undefined> {
  await app.ready()
  return tls && listenTls(app, host, tls)
}

/** Resolves once it listens. Throws RangeError on repeated ids and missing keys, and what listen() throws. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const world = createWorld(options)
  const app = createServer(world)
  const tls = await startTls(app, options)
  const close = async () => {
    tls?.close()
    await app.close()
  }
  const origin = await app
    .listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 0 })
    .catch(async (error) => {
      await close()
      throw error
    })
  return {
    origin,
    ...(tls && { tlsOrigin: tls.origin, tlsCertificatePem: tls.certificatePem }),
    login: (input) => login(world, input),
    phoneButton: (input) => phoneButton(world, input),
    openData: (input) => openData(world, input),
    pay: (input) => pay(world, input),
    refund: (input) => refund(world, input),
    place: (input) => place(world, input),
    bill: (input) => bill(world, input),
    rotateCertificate: (input) => rotateCertificate(world, input),
    push: (input) => push(world, input),
    order: (outTradeNo, mchid) => order(world, outTradeNo, mchid),
    fault: (fault) => world.faults.add(fault),
    clearFaults: () => world.faults.clear(),
    calls: () => world.calls.list(),
    clearCalls: () => world.calls.clear(),
    expireToken: (input) => expireToken(world, input),
    dropSessionKey: (input) => dropSessionKey(world, input),
    subscription: (input) => subscription(world, input),
    close
  }
}
