/** The fronts that we ship configurations for: each must open the same doors and hold the same promises. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { CADDYFILE, caddyfileWithExample, type FrontDoor, withCaddy } from './caddy.ts'

export interface FrontSetup {
  /** `host:port` of each wxgate */
  upstreams: string[]
  /** `host:port` of a merchant's own backend; given, the example that protects it is taken into use. */
  app?: string
  /** Limits in the place of the shipped ones, since no test waits so long: seconds. */
  headerSeconds?: number
  bodySeconds?: number
}

export interface Front {
  name: string
  start(t: Test, setup: FrontSetup): Promise<FrontDoor>
}

/** Replaces what has to be there exactly once. */
function replaced(text: string, old: string, fresh: string): string {
  if (text.split(old).length !== 2) throw new Error(`not there once: ${old}`)
  return text.replace(old, fresh)
}

const caddy: Front = {
  name: 'Caddyfile',
  async start(t, { upstreams, app, headerSeconds = 10, bodySeconds = 35 }) {
    const shipped = app === undefined ? readFileSync(CADDYFILE, 'utf8') : caddyfileWithExample()
    const faster = replaced(shipped, 'read_header 10s', `read_header ${headerSeconds}s`)
    const text = replaced(faster, 'read_body 35s', `read_body ${bodySeconds}s`)
    const caddyfile = join(t.testdir({ Caddyfile: text }), 'Caddyfile')
    return withCaddy(t, { upstreams, caddyfile, ...(app && { env: { APP_UPSTREAM: app } }) })
  }
}

export const FRONTS: readonly Front[] = [caddy]
