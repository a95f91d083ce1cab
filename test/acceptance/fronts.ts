/**
 * Caddy and nginx with the configurations of this repository. Both must open the same endpoints and keep the same
 * promises.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { CADDYFILE, caddyfileWithExample, DOMAIN, doorOf, type FrontDoor, withCaddy } from './caddy.ts'
import { NGINX_CONF, startNginx } from './nginx.ts'

export interface FrontSetup {
  /** `host:port` of each wxgate */
  upstreams: string[]
  /** `host:port` of a merchant's own backend. If given, the example that protects it is switched on. */
  app?: string
  /** Limits in seconds, instead of those in the file, which are too long for a test. */
  headerSeconds?: number
  bodySeconds?: number
}

export interface Front {
  name: string
  /** Whether its example passes on the answer of /api/verify, or only the status. */
  handsRefusalsOn: boolean
  start(t: Test, setup: FrontSetup): Promise<FrontDoor>
}

/** Replaces what has to be there exactly once. */
function replaced(text: string, old: string, fresh: string): string {
  if (text.split(old).length !== 2) throw new Error(`not there once: ${old}`)
  return text.replace(old, fresh)
}

const caddy: Front = {
  name: 'Caddyfile',
  handsRefusalsOn: true,
  async start(t, { upstreams, app, headerSeconds = 10, bodySeconds = 35 }) {
    const shipped = app === undefined ? readFileSync(CADDYFILE, 'utf8') : caddyfileWithExample()
    const faster = replaced(shipped, 'read_header 10s', `read_header ${headerSeconds}s`)
    const text = replaced(faster, 'read_body 35s', `read_body ${bodySeconds}s`)
    const caddyfile = join(t.testdir({ Caddyfile: text }), 'Caddyfile')
    return withCaddy(t, { upstreams, caddyfile, ...(app && { env: { APP_UPSTREAM: app } }) })
  }
}

/** The lines of the example without their "# ", as its comment tells the operator to. */
function withExample(text: string): string {
  return text.replaceAll(/--- example begins[\s\S]*?--- example ends/g, (example) =>
    example.replaceAll(/^(\t?)# (?!---)/gm, '$1')
  )
}

const nginx: Front = {
  name: 'deploy/nginx.conf',
  handsRefusalsOn: false,
  async start(t, { upstreams, app, headerSeconds = 10, bodySeconds = 35 }) {
    const shipped = readFileSync(NGINX_CONF, 'utf8')
    const faster = replaced(shipped, 'client_body_timeout 35s', `client_body_timeout ${bodySeconds}s`).replaceAll(
      'client_header_timeout 10s',
      `client_header_timeout ${headerSeconds}s`
    )
    const [, parameters = ''] = /server 127\.0\.0\.1:3000( .*);/.exec(faster) ?? []
    const servers = upstreams.map((address) => `server ${address}${parameters};`).join('\n\t')
    const served = replaced(faster, `server 127.0.0.1:3000${parameters};`, servers)
    const text = app === undefined ? served : withExample(served).replace('127.0.0.1:8080', app)
    return doorOf(t, await startNginx({ text, domain: DOMAIN }))
  }
}

export const FRONTS: readonly Front[] = [caddy, nginx]
