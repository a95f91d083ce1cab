/** Writes the pages that are made from the settings' schema: run it after changing lib/settings/schema.ts. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { settingsExample, settingsTable } from '../lib/settings/pages.ts'

const root = new URL('../', import.meta.url)

mkdirSync(new URL('docs/', root), { recursive: true })
writeFileSync(new URL('.env.example', root), settingsExample())
writeFileSync(new URL('docs/settings.md', root), settingsTable())
