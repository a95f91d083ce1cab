/** Who calls, for whatever is counted or bounded for each client. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { clientNetwork, readAddress } from '../lib/util/address.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * The client's address, of IPv6 the first 64 bits, as the nearest proxy of ours tells it. One client has one
     * spelling.
     */
    readonly client: string
  }
}

/** Stands for all whose address cannot be read, as on a socket that is closed already. */
const UNKNOWN = 'unknown'

export default fp(
  async (app: FastifyInstance) => {
    app.decorateRequest('client', { getter: readClient })
  },
  { name: 'clients', fastify: '5.x' }
)

/**
 * The last address that a proxy of ours tells. Where that is none, the proxy that told it: a client cannot get a new
 * count by it.
 */
function readClient(this: FastifyRequest): string {
  const addresses = (this.ips ?? []).map((text) => readAddress(text ?? ''))
  const last = addresses.findLast((address) => address !== undefined)
  return last === undefined ? UNKNOWN : clientNetwork(last)
}
