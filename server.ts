/** The process: settings from the environment, listen, and a shut-down that lets requests end. */
import closeWithGrace from 'close-with-grace'
import fastify from 'fastify'
import wxgate, { serverOptions } from './app.ts'
import { placesOf } from './lib/errors.ts'
import { readSettings, type Settings, SettingsError } from './lib/settings.ts'

const SHUTDOWN_MS = 10_000

function settingsOrExit(): Settings {
  try {
    return readSettings(process.env)
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    process.stderr.write(`wxgate cannot start:\n${error.message}\n`)
    process.exit(1)
  }
}

/**
 * Reads the settings, listens, and stops in order when told to. Ends the process where a setting is wrong. `beforeListen` runs
 * when all is built and nobody is served yet.
 */
export async function serve(beforeListen?: () => Promise<void>): Promise<void> {
  const settings = settingsOrExit()
  const app = fastify(serverOptions(settings))

  closeWithGrace({ delay: SHUTDOWN_MS }, async ({ err }) => {
    if (err) app.log.error({ cause: err.name, stack: placesOf(err) }, 'stopping after an error')
    else await app.drain()
    await app.close()
  })

  await app.register(wxgate, { settings })
  await app.ready()
  await beforeListen?.()
  await app.listen({ ...settings.listen })
}

if (import.meta.main) await serve()
