/** The process: settings from the environment, listen, and a shut-down that lets requests end. */
import closeWithGrace from 'close-with-grace'
import fastify from 'fastify'
import { pino } from 'pino'
import wxgate, { serverOptions } from './app.ts'
import { placesOf } from './lib/errors.ts'
import { refuseUnserved } from './lib/settings/unserved.ts'
import { readSettings, type Settings, SettingsError } from './lib/settings.ts'

/** Enough for a balancer to notice, requests to end, and deliveries to be broken off and noted. */
const SHUTDOWN_MS = 15_000

/** Lines are written some at a time, since each write costs a third of what a small request does. At exit they all are. */
const LOG_BYTES_HELD = 4096
const LOG_HELD_MS = 100

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
  process.stderr.write(`wxgate cannot start:\n${error.message}\n`)
  process.exit(1)
}

/**
 * Reads the settings, listens, and stops in order when told to. Ends the process where a setting is wrong. `beforeListen` runs
 * when all is built and nobody is served yet.
 */
export async function serve(beforeListen?: () => Promise<void>): Promise<void> {
  const settings = settingsOrExit()
  const log = pino.destination({ minLength: LOG_BYTES_HELD, periodicFlush: LOG_HELD_MS, sync: true })
  process.once('exit', () => log.flushSync())
  const app = fastify(serverOptions(settings, log))

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
