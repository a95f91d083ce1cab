// Debian and Ubuntu start and enable a service with the packages redis-server, caddy and nginx. We want the programs
// alone: no service, no port taken, nothing that comes back at the next boot. Hence none of them is ever installed.
import { cpSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { onPath, succeeds, succeedsAsRoot } from './shell.ts'

/**
 * Redis is one binary that behaves by its name: Debian's redis-server is but a link to redis-check-rdb of the package
 * redis-tools, which has no service. So that package and a link in the folder `bin` are a Redis. Returns the link's
 * path.
 */
export function linkRedis(bin: string): string {
  const path = join(bin, 'redis-server')
  const target = onPath('redis-check-rdb') ?? installRedisTools()
  rmSync(path, { force: true })
  symlinkSync(target, path)
  if (!succeeds([path, '--version'], { quiet: true }))
    throw new Error(`redis-server: ${target} is no Redis; put one on PATH`)
  return path
}

function installRedisTools(): string {
  const install = ['apt-get', 'install', '-y', '-q', '--no-install-recommends', 'redis-tools']
  const target = withFreshLists(() => succeedsAsRoot(install)) ? onPath('redis-check-rdb') : undefined
  if (target === undefined) {
    throw new Error(
      'redis-server: type this, then try again:\n  sudo apt-get update && sudo apt-get install redis-tools'
    )
  }
  return target
}

/**
 * Caddy is one file that needs only the C library: downloaded, which takes no root, and unpacked into the folder `bin`.
 */
export function unpackCaddy(bin: string): string {
  return unpackProgram(bin, 'caddy', 'usr/bin/caddy')
}

/** nginx is one file, and needs libraries which whoever has redis-tools, npm or openssl has, or Debian itself. */
export function unpackNginx(bin: string): string {
  const path = unpackProgram(bin, 'nginx', 'usr/sbin/nginx')
  if (!succeeds([path, '-v'], { quiet: true })) {
    rmSync(path)
    throw new Error('nginx: type this, then try again:\n  sudo apt-get install openssl libpcre2-8-0 zlib1g libcrypt1')
  }
  return path
}

function unpackProgram(bin: string, name: string, member: string): string {
  const folder = mkdtempSync(join(bin, `.${name}-`))
  try {
    console.error(`Running: apt-get download ${name} (to unpack it into ${bin})`)
    if (!withFreshLists(() => succeeds(['apt-get', 'download', '-q', name], { quiet: true, cwd: folder }))) {
      throw new Error(`${name}: type this, then try again:\n  sudo apt-get update && apt-get download ${name}`)
    }
    return unpack(folder, member, join(bin, name))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function unpack(folder: string, member: string, path: string): string {
  const archive = readdirSync(folder).find((name) => name.endsWith('.deb')) ?? ''
  if (!succeeds(['dpkg-deb', '-x', archive, '.'], { cwd: folder }))
    throw new Error(`${archive}: dpkg-deb cannot unpack it`)
  cpSync(join(folder, member), `${path}.new`)
  renameSync(`${path}.new`, path) // at once: another process may be looking for it
  return path
}

/** Package lists may be absent (a fresh container) or too old: they are fetched only when the first try fails. */
function withFreshLists(attempt: () => boolean): boolean {
  return attempt() || (succeedsAsRoot(['apt-get', 'update', '-q']) && attempt())
}
