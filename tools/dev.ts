/** `npm run dev`: the gateway with a sandbox in WeChat's place, and what to try with it. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import closeWithGrace from 'close-with-grace'
import { leaveNote, startDevWorld } from './dev-world.ts'

const world = await startDevWorld({ port: Number(process.env.PORT ?? 3000), log: 'pipe' }).catch((error: Error) => {
  process.stderr.write(`${error.message}\nIs another program on that port? Choose one: PORT=3100 npm run dev\n`)
  process.exit(1)
})

const pretty = spawn(
  join(import.meta.dirname, '..', 'node_modules', '.bin', 'pino-pretty'),
  ['--ignore', 'pid,hostname'],
  {
    stdio: ['pipe', 'inherit', 'inherit'],
    detached: true
  }
)
world.server.stdout?.pipe(pretty.stdin)
leaveNote(world)

const { gateway, sandbox, backend, appid, apiKey } = world
process.stdout.write(`
wxgate     ${gateway}
WeChat     ${sandbox}   a sandbox in its place, see docs/sandbox.md
backend    ${backend}   a merchant's backend that receives the events: GET /events
API key    ${apiKey}   for /internal, thrown away with everything else when this stops

Walk the whole way in a second terminal:

  npm run tour

or by hand, beginning with wx.login:

  curl -s -XPOST ${sandbox}/sandbox/login -H 'content-type: application/json' -d '{"appid":"${appid}"}'
  curl -s -XPOST ${gateway}/api/login -H 'content-type: application/json' -d '{"code":"<the code>"}'
  curl -s ${gateway}/api/session -H 'authorization: Bearer <the token>'

Ctrl-C stops it all.

`)

closeWithGrace({ delay: 15_000 }, async () => {
  await world.stop()
  pretty.stdin.end()
})
world.server.once('exit', () => process.kill(process.pid, 'SIGTERM'))
