/** A real nginx with deploy/nginx.conf, unprivileged, with a certificate of its own. */
import { generateKeyPairSync } from 'node:crypto'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { makeCertificate } from '../../sandbox/wire/x509.ts'
import { endChild, hasEnded, onExit, spawnBound } from '../../tools/child.ts'
import { freePort } from '../../tools/free-port.ts'
import { need } from '../../tools/need.ts'

export const NGINX_CONF = join(import.meta.dirname, '../../deploy/nginx.conf')
const DAY_MS = 86_400_000
const READY_MS = 10_000

export interface NginxOptions {
  /** The file for conf.d, with `wx.example.com` and the ports and paths that we ship; these are replaced. */
  text: string
  domain: string
}

export interface RunningNginx {
  httpPort: number
  httpsPort: number
  rootCertificate: string
  log(): string
  stop(): Promise<void>
}

/** What the distribution's own nginx.conf does, and everything that it writes below `home`. */
const mainConf = (home: string) => `daemon off;
master_process off;
pid ${home}/nginx.pid;
error_log ${home}/main.log warn;
events { worker_connections 512; }
http {
	client_body_temp_path ${home}/body;
	proxy_temp_path ${home}/proxy;
	fastcgi_temp_path ${home}/fastcgi;
	uwsgi_temp_path ${home}/uwsgi;
	scgi_temp_path ${home}/scgi;
	include ${home}/wxgate.conf;
}
`

/** Throws with what nginx said when it does not come up. */
export async function startNginx({ text, domain }: NginxOptions): Promise<RunningNginx> {
  const home = mkdtempSync(join(tmpdir(), 'wxgate-nginx-'))
  const remove = () => rmSync(home, { recursive: true, force: true })
  const forget = onExit(remove)
  const [httpPort, httpsPort] = [await freePort(), await freePort()]
  const rootCertificate = writeCertificate(home, domain)
  const changed = text
    .replaceAll('/etc/letsencrypt/live/wx.example.com', home)
    .replaceAll('/var/log/nginx', home)
    .replaceAll('wx.example.com', domain)
    .replace('listen 80;', `listen 127.0.0.1:${httpPort};`)
    .replace('listen 443 ssl', `listen 127.0.0.1:${httpsPort} ssl`)
  writeFileSync(join(home, 'wxgate.conf'), changed)
  writeFileSync(join(home, 'nginx.conf'), mainConf(home))

  const output = openSync(join(home, 'output'), 'a')
  const child = spawnBound(need('nginx'), ['-p', home, '-e', join(home, 'main.log'), '-c', join(home, 'nginx.conf')], {
    stdio: ['ignore', output, output]
  })
  closeSync(output)
  const log = () =>
    ['output', 'main.log', 'wxgate.log', 'wxgate-error.log']
      .map((name) => join(home, name))
      .map((file) => (existsSync(file) ? readFileSync(file, 'utf8') : ''))
      .join('')

  const giveUpAt = Date.now() + READY_MS
  while (!(await listens(httpsPort))) {
    if (hasEnded(child) || Date.now() > giveUpAt) throw new Error(`nginx did not come up:\n${log()}`)
    await pause(10)
  }
  return {
    httpPort,
    httpsPort,
    rootCertificate,
    log,
    async stop() {
      await endChild(child)
      forget()
      remove()
    }
  }
}

function writeCertificate(home: string, domain: string): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const certificate = makeCertificate({
    commonName: domain,
    privateKey,
    serial: '1'.repeat(40),
    notBefore: Date.now() - DAY_MS,
    notAfter: Date.now() + DAY_MS,
    altNames: [domain]
  })
  const path = join(home, 'fullchain.pem')
  writeFileSync(path, certificate)
  writeFileSync(join(home, 'privkey.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  return path
}

function listens(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      done(true)
    })
    socket.once('error', () => done(false))
  })
}
