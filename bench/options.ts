/** What can be asked of `npm run bench`. */
import { parseArgs } from 'node:util'
import { CASE_NAMES, type CaseName } from './cases.ts'

export interface Options {
  only: readonly CaseName[]
  quick: boolean
  write: boolean
  profile: boolean
  /** Where the raw profile is kept, for the developer tools of Chrome. */
  keep: string | undefined
}

const USAGE = `npm run bench -- [options]

  --quick          four minutes instead of fifteen; noisier, and without what takes long to fill
  --only a,b       these cases: ${CASE_NAMES.join(', ')}
  --write          puts the table into bench/README.md too
  --profile        instead of the table: where one case spends its time (needs --only with one case)
  --keep FILE      keeps that profile as FILE.cpuprofile`

/** Ends the process with a word on stderr where the arguments make no sense. */
export function readOptions(args: string[]): Options {
  try {
    const { values } = parseArgs({
      args,
      options: {
        quick: { type: 'boolean', default: false },
        write: { type: 'boolean', default: false },
        only: { type: 'string' },
        profile: { type: 'boolean', default: false },
        keep: { type: 'string' },
        help: { type: 'boolean', default: false }
      }
    })
    if (values.help) leave(USAGE, 0)
    const { quick, write, profile, keep } = values
    const only = readNames(values.only)
    if (profile && only.length !== 1) throw new Error('--profile looks at one case: name it with --only')
    if (write && only.length !== CASE_NAMES.length) throw new Error('--write is for the whole table, without --only')
    return { only, quick, write, profile, keep }
  } catch (error) {
    return leave(`${(error as Error).message}\n\n${USAGE}`, 1)
  }
}

function readNames(text: string | undefined): CaseName[] {
  if (text === undefined) return [...CASE_NAMES]
  return text.split(',').map((name) => {
    const known = CASE_NAMES.find((one) => one === name)
    if (known === undefined) throw new Error(`there is no case ${name}`)
    return known
  })
}

function leave(message: string, status: number): never {
  process.stderr.write(`${message}\n`)
  process.exit(status)
}
