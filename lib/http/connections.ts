/** Connections to one origin: kept alive, direct or through the operator's proxy. Callers time their requests. */
import { buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici'
import { type ProxySettings, proxyFor, proxyName } from './proxy.ts'
import { skipInformational } from './unasked-continue.ts'

export interface ConnectionOptions {
  proxy?: ProxySettings | undefined
  connectTimeoutMs: number
  /** At the same time; undefined: any number. */
  connections?: number | undefined
  /** Our certificate and its private key (PEM), where the server asks who we are. */
  identity?: { cert: string; key: string } | undefined
}

export interface Connections {
  dispatcher: Dispatcher
  origin: string
  /** Host and port of the proxy that they go through. */
  via: string | undefined
}

type Connector = buildConnector.connector

/** Callers time their requests: headersTimeout and bodyTimeout would be a second clock. */
const NO_CLOCK = { headersTimeout: 0, bodyTimeout: 0 }

export function openConnections(origin: string, options: ConnectionOptions): Connections {
  const { connectTimeoutMs: timeout, identity, connections = null } = options
  const proxy = proxyFor(origin, options.proxy)
  if (proxy === undefined) {
    const connect = skipping(buildConnector({ timeout, ...identity }))
    return { dispatcher: new Pool(origin, { connections, connect, ...NO_CLOCK }), origin, via: undefined }
  }
  const dispatcher = new ProxyAgent({
    uri: proxy,
    proxyTls: { timeout },
    requestTls: { timeout, ...identity },
    // For the CONNECT request to the proxy: its time is part of connecting.
    clientFactory: (url, { connect }: { connect: Connector }) => new Pool(url, { connect, headersTimeout: timeout }),
    factory: (to, { connect }: { connect: Connector }) =>
      new Pool(to, { connections, connect: skipping(connect), ...NO_CLOCK })
  })
  return { dispatcher, origin, via: proxyName(proxy) }
}

const skipping =
  (connect: Connector): Connector =>
  (to, done) =>
    connect(to, (...result) => (result[0] === null ? done(null, skipInformational(result[1])) : done(...result)))
