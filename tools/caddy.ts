// A real Caddy in front of a local service, running the repository's own Caddyfile: for the acceptance tests.
import type { ChildProcess } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { endChild, hasEnded, onExit, spawnBound } from './child.ts'
import { freePort } from './free-port.ts'
import { need } from './need.ts'

const OWN_CADDYFILE = join(import.meta.dirname, '../Caddyfile')
const READY_MS = 10_000

export interface CaddyOptions {
  /** Path of a Caddyfile. Default: the one that we ship. */
  caddyfile?: string
  /** What the Caddyfile asks for: `DOMAIN` and the like. Nothing else of our environment gets through. */
  env: { DOMAIN: string; [name: string]: string }
  /** Holds all that Caddy writes, kept after stop(). Default: a temporary folder, removed by stop(). */
  dir?: string
}

export interface RunningCaddy {
  readonly httpPort: number
  readonly httpsPort: number
  /** Path of the PEM file that vouches for its certificates. */
  readonly rootCertificate: string
  /** All that it has reported so far. */
  log(): string
  stop(): Promise<void>
}

/**
 * Starts Caddy on free ports of 127.0.0.1 with a certificate authority of its own, and waits for a TLS handshake that
 * verifies. It has no admin port, and touches neither the system's trust store nor another Caddy's files.
 * Throws with Caddy's last log lines when it does not come up.
 */
export async function startCaddy({ caddyfile = OWN_CADDYFILE, env, dir }: CaddyOptions): Promise<RunningCaddy> {
  const home = dir ?? mkdtempSync(join(tmpdir(), 'wxgate-caddy-'))
  const remove = () => {
    if (dir === undefined) rmSync(home, { recursive: true, force: true })
  }
  const [httpPort, httpsPort] = [await freePort(), await freePort()]
  const caddy: RunningCaddy = {
    httpPort,
    httpsPort,
    rootCertificate: join(home, 'data/caddy/pki/authorities/local/root.crt'),
    log: () => readFileSync(join(home, 'caddy.log'), 'utf8'),
    async stop() {
      await endChild(child)
      forget()
      remove()
    }
  }
  const forget = onExit(remove)
  const child = runCaddy(caddyfile, home, { ...env, CADDY_GLOBAL_OPTIONS: testOptions(httpPort, httpsPort) })
  await handshakes(child, caddy, env.DOMAIN)
  return caddy
}

/** The global options that make the shipped Caddyfile a private one. */
function testOptions(httpPort: number, httpsPort: number): string {
  return [
    'admin off',
    'skip_install_trust',
    'local_certs',
    'default_bind 127.0.0.1',
    `http_port ${httpPort}`,
    `https_port ${httpsPort}`
  ].join('\n')
}

function runCaddy(caddyfile: string, home: string, env: Record<string, string>): ChildProcess {
  const log = openSync(join(home, 'caddy.log'), 'a')
  const folders = { HOME: home, XDG_CONFIG_HOME: join(home, 'config'), XDG_DATA_HOME: join(home, 'data') }
  const child = spawnBound(need('caddy'), ['run', '--config', caddyfile, '--adapter', 'caddyfile'], {
    stdio: ['ignore', log, log],
    env: { PATH: process.env.PATH, ...folders, ...env }
  })
  closeSync(log)
  return child
}

async function handshakes(child: ChildProcess, caddy: RunningCaddy, domain: string): Promise<void> {
  const deadline = Date.now() + READY_MS
  while (!hasEnded(child) && Date.now() < deadline) {
    if (existsSync(caddy.rootCertificate) && (await handshake(caddy, domain))) return
    await sleep(10)
  }
  const lines = caddy.log().trimEnd().split('\n').slice(-5)
  await endChild(child, 'SIGKILL')
  throw new Error(`Caddy did not come up:\n${lines.join('\n')}`)
}

function handshake({ httpsPort, rootCertificate }: RunningCaddy, servername: string): Promise<boolean> {
  return new Promise((done) => {
    const ca = readFileSync(rootCertificate)
    const socket = connect({ host: '127.0.0.1', port: httpsPort, servername, ca }, () => {
      done(true)
      socket.destroy()
    })
    socket.setTimeout(1000, () => socket.destroy())
    socket.once('error', () => done(false))
    socket.once('close', () => done(false))
  })
}
