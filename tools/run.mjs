// Runs one of our TypeScript scripts on a Node.js that can: `node tools/run.mjs <script.ts> [args…]`.
// Plain JavaScript without dependencies, because this is the one file that an older Node.js (from 20 on) has to run.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const OLDEST = [24, 12] // as in package.json's engines
const FOLDER = fileURLToPath(new URL('node', import.meta.url))
const PINNED = join(FOLDER, 'node_modules', '.bin', 'node')

const [script, ...args] = process.argv.slice(2)
if (script === undefined) stop('Usage: node tools/run.mjs <script.ts> [args…]')
run(isRecent(process.versions.node) ? process.execPath : pinnedNode())

function isRecent(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])
}

/** Path of the Node.js in tools/node, which is installed when it is absent or not of the pinned version. */
function pinnedNode() {
  const { version, optionalDependencies } = wantedNode()
  if (versionOf(PINNED) === version) return PINNED

  const name = `node-${process.platform}-${process.arch}`
  if (optionalDependencies[name] === undefined) stop(howToUpgrade(`there is none of npm's for ${name}`))
  console.error(`Node.js ${process.versions.node} is too old here: installing ${version} into tools/node (once)`)
  const install = spawnSync('npm', ['ci', '--prefix', FOLDER, '--include=optional', '--no-audit', '--no-fund'], {
    stdio: ['ignore', 2, 2]
  })
  if (install.status !== 0) stop(howToUpgrade('npm could not install it'))
  if (versionOf(PINNED) !== version) stop(howToUpgrade('the one of npm does not run on this system'))
  return PINNED
}

function wantedNode() {
  const { optionalDependencies } = JSON.parse(readFileSync(join(FOLDER, 'package.json'), 'utf8'))
  return { optionalDependencies, version: Object.values(optionalDependencies)[0] }
}

function versionOf(node) {
  if (!existsSync(node)) return undefined
  return spawnSync(node, ['-p', 'process.versions.node'], {
    encoding: 'utf8',
    env: withoutNodeOptions()
  }).stdout?.trim()
}

/** Options meant for the script (a debugger, a profile) are not for our look at the version. */
function withoutNodeOptions() {
  const { NODE_OPTIONS: _, ...env } = process.env
  return env
}

function howToUpgrade(reason) {
  return [
    `This needs Node.js ${OLDEST.join('.')} or newer, and ${reason} (this is ${process.versions.node}).`,
    'Install Node.js 24 from https://nodejs.org/en/download (or: nvm install 24; brew install node@24), then try again.'
  ].join('\n')
}

function run(node) {
  const child = spawn(node, [script, ...args], { stdio: 'inherit', env: environment(node) })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => forward(child, signal))
  child.once('error', (error) => stop(`${node}: ${error.message}`))
  child.once('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
}

/** What a child starts by `#!/usr/bin/env node` (tap, biome, tsc, npm) must be the same Node.js, not the one npm runs on. */
function environment(node) {
  const { PATH = '' } = process.env
  const first = PATH.split(delimiter)
    .map((folder) => join(folder, 'node'))
    .find(existsSync)
  const isFirst = first !== undefined && realpathSync(first) === realpathSync(node)
  const path = isFirst ? PATH : `${dirname(node)}${delimiter}${PATH}`
  return { ...process.env, PATH: path, NODE: node, npm_node_execpath: node }
}

/** Ctrl-C reaches the child from the terminal as well; a second SIGINT from us would cut its orderly end short. */
function forward(child, signal) {
  const fromTerminal = signal === 'SIGINT' && (process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY)
  if (!fromTerminal) child.kill(signal)
}

function stop(message) {
  console.error(message)
  process.exit(1)
}
