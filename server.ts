/** The process: settings from the environment, listen, and a shut-down that lets requests end. */
import { writeSync } from 'node:fs'
import closeWithGrace from 'close-with-grace'
import fastify from 'fastify'
import wxgate, { serverOptions } from './app.ts'
import { placesOf } from './lib/errors.ts'
import { neverBlocking } from './lib/log/descriptor.ts'
import { LogOutput } from './lib/log/output.ts'
import { refuseUnserved } from './lib/settings/unserved.ts'
import { readSettings, type Settings, SettingsError } from './lib/settings.ts'

/** Enough for a balancer to notice, requests to end, and deliveries to be broken off and noted. */
const SHUTDOWN_MS = 15_000

/** How long an exit waits for a reader of the log that is slow. */
const LAST_LINES_MS = 1000

/** Not by process.stdout and process.stderr, which wait where what they lead to is a terminal or a file. */
const STDOUT = 1
const STDERR = 2

function settingsOrExit(): Settings {
  try {
    const settings = readSettings(process.env)
    refuseUnserved(settings)
    return settings
  } catch (error) {
    return exitForSettings(error)
  }
}

/** Ends the process where the settings are the reason; else throws on. Some are known to be wrong only once Redis was asked. */
function exitForSettings(error: unknown): never {
  if (!(error instanceof SettingsError)) throw error
  complain(`wxgate cannot start:\n${error.message}\n`)
  process.exit(1)
}

/** Plain text to standard error, for a person. Where that cannot be written either, nobody is there to read it. */
function complain(text: string): void {
  try {
    writeSync(neverBlocking(STDERR), text)
  } catch {
    // As said.
  }
}

/** The log on standard output. A service that cannot write it serves on: payments matter more than their log lines. */
function openLog(onRecovered: (dropped: number, cause: string) => void): LogOutput {
  const output = new LogOutput({
    fd: neverBlocking(STDOUT),
    onTrouble: (cause) => complain(`wxgate: the log cannot be written (${cause}); it serves on, log lines are lost\n`),
    onRecovered
  })
  process.once('exit', () => output.end(LAST_LINES_MS))
  // Where the size of files is limited, a write then fails with EFBIG instead of ending the process.
  process.on('SIGXFSZ', () => undefined)
  return output
}

/**
 * Reads the settings, listens, and stops in order when told to. Ends the process where a setting is wrong. `beforeListen` runs
 * when all is built and nobody is served yet.
 */
export async function serve(beforeListen?: () => Promise<void>): Promise<void> {
  const settings = settingsOrExit()
  const output = openLog((dropped, cause) => app.log.warn({ dropped, cause }, 'the log is written again'))
  const app = fastify(serverOptions(settings, output))

  closeWithGrace({ delay: SHUTDOWN_MS }, async ({ err }) => {
    if (err) app.log.error({ cause: err.name, stack: placesOf(err) }, 'stopping after an error')
    else await app.drain()
    await app.close()
  })

  try {
    await app.register(wxgate, { settings })
    await app.ready()
  } catch (error) {
    exitForSettings(error)
  }
  await beforeListen?.()
  await app.listen({ ...settings.listen })
}

if (import.meta.main) await serve()
