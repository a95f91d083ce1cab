/**
 * WeChat as a server of our own, for development, the tour and tests. It is written from the protocol pages alone and shares no line with the
 * gateway: a mistake made twice would otherwise look like agreement.
 */
import Fastify, { type FastifyInstance } from 'fastify'
import { actRoutes } from './acts/index.ts'
import { type LoginInput, type LoginResult, login } from './acts/login.ts'
import { type OpenDataInput, type OpenDataResult, openData } from './acts/open-data.ts'
import { type OrderView, order, type PayInput, type PayResult, pay } from './acts/pay.ts'
import { type PhoneButtonInput, type PhoneButtonResult, phoneButton } from './acts/phone-button.ts'
import { type DropSessionKeyInput, dropSessionKey } from './acts/session-key.ts'
import { type SubscriptionInput, subscription } from './acts/subscription.ts'
import { type ExpireTokenInput, expireToken } from './acts/upkeep.ts'
import type { SandboxOptions } from './options.ts'
import type { Call, Received } from './state/calls.ts'
import type { Fault, SecurityFault } from './state/faults.ts'
import { upstreamRoutes } from './upstream/index.ts'
import { createWorld, type World } from './world.ts'

export type { NoticeResult } from './acts/deliver.ts'
export type { ApiSecurity, PlatformKey, SandboxApp, SandboxMerchant, SandboxOptions } from './options.ts'
export type {
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
  Received,
  SecurityFault,
  SubscriptionInput
}

export interface Sandbox {
  /** `http://host:port`: for WECHAT_API_ORIGIN and WECHAT_PAY_ORIGIN. */
  readonly origin: string
  /** wx.login. The user's session_key is renewed at this moment unless `keepSessionKey`. */
  login(input: LoginInput): LoginResult
  /** The getPhoneNumber button, for a user who has logged in. */
  phoneButton(input: PhoneButtonInput): PhoneButtonResult
  /** Profile, WeRun, share data: signed, and encrypted under the user's present session_key. */
  openData(input: OpenDataInput): OpenDataResult
  /** The order becomes paid, its notices go out; resolves with the answers to them. */
  pay(input: PayInput): Promise<PayResult>
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
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } }
  })
  app.register(upstreamRoutes(world))
  app.register(actRoutes(world), { prefix: '/sandbox' })
  app.addHook('preClose', async () => world.closing.abort())
  app.addHook('onClose', async () => world.dispatcher.destroy())
  return app
}

/** Resolves once it listens. Throws RangeError on repeated ids, and what listen() throws. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const world = createWorld(options)
  const app = createServer(world)
  const origin = await app.listen({ host: options.host ?? '127.0.0.1', port: options.port ?? 0 })
  return {
    origin,
    login: (input) => login(world, input),
    phoneButton: (input) => phoneButton(world, input),
    openData: (input) => openData(world, input),
    pay: (input) => pay(world, input),
    order: (outTradeNo, mchid) => order(world, outTradeNo, mchid),
    fault: (fault) => world.faults.add(fault),
    clearFaults: () => world.faults.clear(),
    calls: () => world.calls.list(),
    clearCalls: () => world.calls.clear(),
    expireToken: (input) => expireToken(world, input),
    dropSessionKey: (input) => dropSessionKey(world, input),
    subscription: (input) => subscription(world, input),
    close: () => app.close()
  }
}
