/** The sandbox by TLS as well: v2 refunds show the merchant's certificate in the handshake. */
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { TlsOptions } from './options.ts'
import { makeCertified } from './throw-away.ts'

export interface TlsListener {
  close(): void
  origin: string
  /** What a client has to trust, PEM. */
  certificatePem: string
}

/**
 * Serves `app`, which must be ready, on a port of its own. Certificates of clients are asked for, and
 * taken whoever signed them: whether one is the merchant's is for the refund to tell. Throws RangeError on half a pair.
 */
export async function listenTls(app: FastifyInstance, host: string, options: TlsOptions): Promise<TlsListener> {
  const { port = 0, ...given } = options
  if ((given.certificatePem === undefined) !== (given.privateKeyPem === undefined))
    throw new RangeError('tls needs certificatePem and privateKeyPem, or neither')
  const made = { ...makeCertified({ commonName: 'localhost', altNames: ['localhost', '127.0.0.1'] }), ...given }
  const { certificatePem: cert, privateKeyPem: key } = made
  const server = createServer({ cert, key, requestCert: true, rejectUnauthorized: false }, app.routing)
  server.listen(port, host)
  await once(server, 'listening')
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  return { origin: `https://${host}:${(server.address() as AddressInfo).port}`, certificatePem: cert, close }
}
