/**
 * Connections that show WeChat Pay the merchant's certificate, which refunds by APIv2 need (docs/wechat/pay.md
 * A6).
 */
import { ServiceError } from '../../errors.ts'
import { Upstream, type UpstreamOptions } from '../../http/upstream.ts'
import type { Merchant } from '../../settings/model.ts'

/** WeChat takes 150 refunds a second, of all that a merchant has. */
const CONNECTIONS = 8

export type SecureUpstreamOptions = Pick<UpstreamOptions, 'origins' | 'timeoutMs' | 'proxy'>

export class SecureUpstreams {
  readonly #options: SecureUpstreamOptions
  readonly #byMchid = new Map<string, Upstream>()

  constructor(options: SecureUpstreamOptions) {
    this.#options = options
  }

  /**
   * The connections of this merchant, made when first asked for. Throws WECHAT_CONFIG_INVALID where a setting is
   * missing.
   */
  of(merchant: Merchant): Upstream {
    const known = this.#byMchid.get(merchant.mchid)
    if (known !== undefined) return known
    const connect = identityOf(merchant)
    const made = new Upstream({ ...this.#options, connectionsPerOrigin: CONNECTIONS, connect })
    this.#byMchid.set(merchant.mchid, made)
    return made
  }

  async close(): Promise<void> {
    await Promise.all([...this.#byMchid.values()].map((upstream) => upstream.close()))
  }
}

function identityOf({ cert, privateKey }: Merchant): { cert: string; key: string } {
  if (cert === undefined) throw missing('certificate', 'WECHAT_PAY_CERT (cert)')
  if (privateKey === undefined) throw missing('private key', 'WECHAT_PAY_PRIVATE_KEY (privateKey)')
  return { cert, key: privateKey }
}

const missing = (what: string, setting: string): ServiceError =>
  new ServiceError('WECHAT_CONFIG_INVALID', {
    message: `Refunds by api v2 need the merchant's ${what}, which is not configured: set ${setting}`
  })
