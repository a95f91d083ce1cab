/** `npm run sandbox`: the sandbox alone, for a gateway or an SDK in any language. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { makeApp, makeMerchant, type SandboxOptions, startSandbox } from './index.ts'

const { values } = parseArgs({
  options: {
    accounts: { type: 'string', short: 'a' },
    host: { type: 'string' },
    port: { type: 'string', short: 'p', default: '8100' },
    'tls-port': { type: 'string' }
  }
})

/** Accounts of a file, or ones that are thrown away at the end; `shown` is what only the other side of them knows. */
function readAccounts(file: string | undefined): { options: SandboxOptions; shown?: object } {
  if (file !== undefined) return { options: JSON.parse(readFileSync(file, 'utf8')) }
  const app = makeApp()
  const { merchant, secrets } = makeMerchant({ appids: [app.appid], mode: 'both' })
  return { options: { apps: [app], merchants: [merchant] }, shown: { app, merchant: secrets } }
}

const { options, shown } = readAccounts(values.accounts)
const tlsPort = values['tls-port']
const sandbox = await startSandbox({
  ...options,
  port: Number(values.port),
  ...(values.host !== undefined && { host: values.host }),
  ...(tlsPort !== undefined && { tls: { ...options.tls, port: Number(tlsPort) } })
})

const { origin, tlsOrigin, tlsCertificatePem } = sandbox
process.stdout.write(`${JSON.stringify({ origin, tlsOrigin, tlsCertificatePem, ...shown }, null, 2)}\n`)

// With the sandbox closed nothing holds the process.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => sandbox.close())
