/** Everything that one sandbox knows: the accounts, and what has happened since it started. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent } from 'undici'
import type { SandboxApp, SandboxMerchant, SandboxOptions } from './options.ts'
import { Bills } from './state/bills.ts'
import { Calls } from './state/calls.ts'
import { CodeBook } from './state/codes.ts'
import { Faults } from './state/faults.ts'
import { type MerchantAccount, readAccount } from './state/merchants-v3.ts'
import { Orders } from './state/orders.ts'
import { Refunds } from './state/refunds.ts'
import { readSecurity, type Security } from './state/security.ts'
import { Tokens } from './state/tokens.ts'
import { type User, Users } from './state/users.ts'
import { makeLoginCode, makePhoneCode } from './wire/random.ts'

export interface PhoneInfo {
  phoneNumber: string
  purePhoneNumber: string
  countryCode: string
  watermark: { timestamp: number; appid: string }
}

export interface World {
  readonly now: () => number
  readonly apps: ReadonlyMap<string, SandboxApp>
  /** By appid: the apps in API security mode. */
  readonly security: ReadonlyMap<string, Security>
  readonly merchants: ReadonlyMap<string, SandboxMerchant>
  /** By mchid: the merchants that use APIv3. */
  readonly accounts: ReadonlyMap<string, MerchantAccount>
  /** Whether v2 refunds have to come by TLS with the merchant's certificate. */
  readonly refundsNeedCertificate: boolean
  readonly users: Users
  readonly loginCodes: CodeBook<User>
  readonly phoneCodes: CodeBook<{ user: User; info: PhoneInfo }>
  readonly tokens: Tokens
  readonly orders: Orders
  readonly refunds: Refunds
  readonly bills: Bills
  readonly faults: Faults
  readonly calls: Calls
  /** Carries notices to the merchants. */
  readonly dispatcher: Agent
  /** Fires on close: delays and notices under way end. */
  readonly closing: AbortController
}

/** Throws RangeError where two apps or two merchants have one id, and what readSecurity and readAccount throw. */
export function createWorld(options: SandboxOptions): World {
  const { apps, merchants = [], now = Date.now, tls } = options
  const orders = new Orders(now)
  return {
    now,
    apps: byId(apps, (app) => app.appid),
    security: securityOf(apps),
    merchants: byId(merchants, (merchant) => merchant.mchid),
    accounts: accountsOf(merchants),
    refundsNeedCertificate: options.refundsNeedCertificate ?? tls !== undefined,
    users: new Users(),
    loginCodes: new CodeBook(makeLoginCode, now),
    phoneCodes: new CodeBook(makePhoneCode, now),
    tokens: new Tokens(now),
    orders,
    refunds: new Refunds(orders, now),
    bills: new Bills(now),
    faults: new Faults(),
    calls: new Calls(),
    dispatcher: new Agent(),
    closing: new AbortController()
  }
}

/** Real milliseconds, cut short when the sandbox closes. */
export async function pause({ closing }: World, ms: number): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { signal: closing.signal }).catch(() => undefined)
}

function securityOf(apps: SandboxApp[]): Map<string, Security> {
  return new Map(
    apps.flatMap(({ appid, apiSecurity }) => (apiSecurity ? [[appid, readSecurity(appid, apiSecurity)]] : []))
  )
}

function accountsOf(merchants: SandboxMerchant[]): Map<string, MerchantAccount> {
  const accounts = merchants.map(readAccount).filter((account) => account !== undefined)
  return byId(accounts, ({ mchid }) => mchid)
}

function byId<T>(items: T[], idOf: (item: T) => string): Map<string, T> {
  const map = new Map(items.map((item) => [idOf(item), item]))
  if (map.size !== items.length) throw new RangeError('the sandbox was given the same id twice')
  return map
}
