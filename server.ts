/** The process: settings from the environment, listen, and a shut-down that lets requests end. */
import { writeSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import fastify, { type FastifyInstance } from 'fastify'
import wxgate, { serverOptions } from './app.ts'
import { LogOutput, neverBlocking } from './lib/log/output.ts'
import { crashOf, logWarnings } from './lib/log/process-lines.ts'
import { SettingsError } from './lib/settings/issues.ts'
import { findMisspelt } from './lib/settings/misspelt.ts'
import type { Settings } from './lib/settings/model.ts'
import { readSettings, refuseUnsupported } from './lib/settings.ts'
import { AfterLoad } from './lib/start/after-load.ts'
import { explainFailure, type Listener } from './lib/start/failure.ts'
import { summarize } from './lib/start/summary.ts'
import { withTimeout } from './lib/util/deadline.ts'
import manifest from './package.json' with { type: 'json' }

/** Enough for a balancer to notice, requests to end, and deliveries to be broken off and noted. */
const SHUTDOWN_MS = 15_000

/** How long an exit waits for a reader of the log that is slow. */
const LAST_LINES_MS = 1000

/** How long a start that failed waits for its connections to close. */
const FAREWELL_MS = 5000

/** Until what the start left behind can be collected; a collection at once finds it still in use. */
const SETTLE_MS = 200

const CANNOT_START = 'wxgate cannot start:\n'

/** Not by process.stdout and process.stderr, which wait where what they lead to is a terminal or a file. */
const STDOUT = 1
const STDERR = 2

function settingsOrExit(): Settings {
  try {
    const settings = readSettings(process.env)
    refuseUnsupported(settings)
    return settings
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    complain(CANNOT_START + error.message)
    process.exit(1)
  }
}

/** Plain text to standard error, for a person. Where that cannot be written either, nobody is there to read it. */
function complain(text: string): void {
  try {
    writeSync(neverBlocking(STDERR), `${text}\n`)
  } catch {
    // As said.
  }
}

/** The log on standard output. A service that cannot write it serves on: payments matter more than their log lines. */
function openLog(onRecovered: (dropped: number, cause: string) => void): LogOutput {
  const output = new LogOutput({
    fd: neverBlocking(STDOUT),
    onTrouble: (cause) => complain(`wxgate: the log cannot be written (${cause}); it serves on, log lines are lost`),
    onRecovered
  })
  process.once('exit', () => output.end(LAST_LINES_MS))
  // Where the size of files is limited, a write then fails with EFBIG instead of ending the process.
  process.on('SIGXFSZ', () => undefined)
  return output
}

/** Stops in order on a signal; at once, its connections closed, where something was thrown that nobody caught. */
function closeInOrder(app: FastifyInstance): { uninstall(): void } {
  const logger = {
    error: (what: unknown) =>
      typeof what === 'string' ? app.log.error(what) : app.log.error(crashOf(what), 'the shut-down failed')
  }
  return closeWithGrace({ delay: SHUTDOWN_MS, logger }, async (reason) => {
    const isCrash = 'err' in reason
    if (isCrash) app.log.fatal(crashOf(reason.err), 'stopping after an error')
    else if (app.hasDecorator('drain')) await app.drain()
    await app.close()
    // close-with-grace takes a rejection without a reason for an end in order.
    if (isCrash) process.exit(1)
  })
}

/** Says why, as settings are complained of, and ends; connections that the start has made are closed. */
async function failStart(app: FastifyInstance, error: unknown, listener: Listener): Promise<never> {
  complain(CANNOT_START + (error instanceof SettingsError ? error.message : explainFailure(error, listener)))
  await withTimeout(
    app.close().catch(() => undefined),
    FAREWELL_MS
  )
  process.exit(1)
}

/** The one line of what is on, and one for each variable that is set in vain. */
function tellStart(app: FastifyInstance, settings: Settings): void {
  app.log.info(summarize(settings, app.redisHealth.facts, manifest.version), 'wxgate is on')
  for (const { name, meant } of findMisspelt(process.env)) {
    if (meant === undefined) app.log.warn({ name }, 'this version does not know a setting that is given')
    else app.log.warn({ name, meant }, 'a variable is no setting; another one is probably meant')
  }
}

/** Collects what the start left behind, and later what each time of load does. */
async function staySmall(collect: () => void): Promise<void> {
  await pause(SETTLE_MS)
  collect()
  new AfterLoad({ collect })
}

/**
 * Reads the settings, listens, and stops in order when told to. Ends the process where it cannot. `collect` gives
 * memory back that is not needed any more, and makes whoever calls wait meanwhile.
 */
export async function serve(collect?: () => void): Promise<void> {
  const settings = settingsOrExit()
  const output = openLog((dropped, cause) => app.log.warn({ dropped, cause }, 'the log is written again'))
  const app: FastifyInstance = fastify(serverOptions(settings, output))
  logWarnings(app.log)
  const closing = closeInOrder(app)
  try {
    await app.register(wxgate, { settings })
    await app.ready()
    if (collect !== undefined) await staySmall(collect)
    const { host, port } = settings.server
    await app.listen({ host, port })
  } catch (error) {
    closing.uninstall()
    await failStart(app, error, settings.server)
  }
  tellStart(app, settings)
}

if (import.meta.main) await serve()
