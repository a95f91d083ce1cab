// Acceptance tests call wxgate as its users do: by HTTPS, through the Caddyfile of this repository.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Agent, buildConnector, type Dispatcher } from 'undici'
import { startCaddy } from '../../tools/caddy.ts'

export const DOMAIN = 'wx.example.test'
export const CADDYFILE = join(import.meta.dirname, '../../Caddyfile')

export interface CaddySetup {
  /**
   * `host:port` of each wxgate. They should be listening already; else Caddy takes them for dead for up to a second.
   */
  upstreams: string[]
  /** Another Caddyfile than the shipped one. */
  caddyfile?: string
  /** More for the Caddyfile's placeholders. */
  env?: Record<string, string>
}

export interface FrontRequest {
  method?: Dispatcher.HttpMethod
  headers?: Record<string, string | string[]>
  /** Sent as it is; an object is not made JSON here. */
  body?: string | Buffer
}

export interface FrontAnswer {
  statusCode: number
  headers: Record<string, string | string[] | undefined>
  body: Buffer
  text: string
  /** The body as JSON, or whatever its reader expects of it. Throws when it is not JSON. */
  json<Body>(): Body
}

/** A running Caddy or nginx, and how to speak to it. */
export interface FrontDoor {
  readonly httpPort: number
  readonly httpsPort: number
  /** `https://wx.example.test`, as a mini-program would call it. */
  origin: string
  rootPem: string
  /** For undici's own functions: whatever a URL names, it connects to this front and verifies its certificate. */
  dispatcher: Agent
  /** One HTTPS request; `path` goes out byte for byte. */
  request(path: string, options?: FrontRequest): Promise<FrontAnswer>
  /** All that it has written to its logs so far. */
  log(): string
}

/** Starts the shipped Caddyfile in front of `upstreams`, and ends it with the test. */
export async function withCaddy(t: Test, { upstreams, caddyfile, env = {} }: CaddySetup): Promise<FrontDoor> {
  const caddy = await startCaddy({
    ...(caddyfile === undefined ? {} : { caddyfile }),
    env: { DOMAIN, WXGATE_UPSTREAMS: upstreams.join(' '), ...env }
  })
  return doorOf(t, caddy)
}

interface RunningFront {
  readonly httpPort: number
  readonly httpsPort: number
  /** Path of a PEM file. */
  readonly rootCertificate: string
  log(): string
  stop(): Promise<void>
}

/** Ends `front` with the test. */
export function doorOf(t: Test, front: RunningFront): FrontDoor {
  const rootPem = readFileSync(front.rootCertificate, 'utf8')
  const dispatcher = dispatcherTo(front.httpsPort, rootPem)
  t.teardown(async () => {
    await dispatcher.destroy()
    await front.stop()
  })
  const origin = `https://${DOMAIN}`
  const { httpPort, httpsPort, log } = front
  const request: FrontDoor['request'] = (path, options) => send(dispatcher, origin, path, options)
  return { httpPort, httpsPort, log, origin, rootPem, dispatcher, request }
}

/**
 * Stands in for DNS: the name stays in the URL, the Host header and the handshake, only the connection goes elsewhere.
 */
function dispatcherTo(port: number, ca: string): Agent {
  const connect = buildConnector({ ca })
  return new Agent({
    connect: (options, callback) =>
      connect({ ...options, hostname: '127.0.0.1', port: String(port), servername: DOMAIN }, callback)
  })
}

async function send(dispatcher: Agent, origin: string, path: string, options: FrontRequest = {}): Promise<FrontAnswer> {
  const { method = 'GET', headers = {}, body = null } = options
  const answer = await dispatcher.request({ origin, path, method, headers, body })
  const bytes = Buffer.from(await answer.body.arrayBuffer())
  const text = bytes.toString('utf8')
  return {
    statusCode: answer.statusCode,
    headers: answer.headers,
    body: bytes,
    text,
    json: <Body>() => JSON.parse(text) as Body
  }
}

/**
 * The shipped Caddyfile with the "# " taken off the lines of its forward_auth example, as its comment tells the
 * operator to.
 */
export function caddyfileWithExample(): string {
  const [before = '', rest = ''] = readFileSync(CADDYFILE, 'utf8').split('\t# --- example begins ---\n')
  const [example = '', after = ''] = rest.split('\t# --- example ends ---\n')
  return before + example.replaceAll(/^\t# /gm, '\t') + after
}
