/** Why a start failed, as one line that a person can act on. */
import { placesOf } from '../errors.ts'

export interface Listener {
  host: string
  port: number
}

type Say = (at: Listener) => string

const taken: Say = ({ host, port }) =>
  `PORT ${port} of ${host} is taken by another program: end that one (ss -ltnp shows it), or set another PORT`
const unknownHost: Say = ({ host }) =>
  `HOST ${host} is a name that leads to no address; 127.0.0.1 and 0.0.0.0 need none`
const foreignHost: Say = ({ host }) =>
  `HOST ${host} is no address of this machine; 0.0.0.0 listens on all that it has, 127.0.0.1 on none but itself`

/** By the system's code for what `listen` met. */
const LISTEN: Readonly<Record<string, Say>> = {
  EADDRINUSE: taken,
  EADDRNOTAVAIL: foreignHost,
  EAFNOSUPPORT: foreignHost,
  EINVAL: foreignHost,
  ENOTFOUND: unknownHost,
  EAI_AGAIN: unknownHost,
  EACCES: ({ port }) =>
    `PORT ${port} needs a right that this user does not have: set one from 1024 up, with Caddy or nginx before it`
}

/** Errors of these libraries tell of our own code, never of what came from outside. */
const SAFE_CODE = /^(?:FST|AVV)_/

/**
 * The line for `error`. Messages of others are not shown, as they may quote a secret: what nobody foresaw is told by
 * its name, its code and the place.
 */
export function explainFailure(error: unknown, listener: Listener): string {
  if (!(error instanceof Error)) return 'something was thrown that is no error; please report this'
  const { code = '', syscall } = error as NodeJS.ErrnoException
  const say = syscall === 'listen' || syscall === 'getaddrinfo' || syscall === 'bind' ? LISTEN[code] : undefined
  if (say !== undefined) return say(listener)
  if (SAFE_CODE.test(code)) return `${code}: ${oneLine(error.message)}`
  const [place = ''] = placesOf(error).map((line) => line.trim())
  const system = [code, syscall].filter((part) => part).join(' in ')
  return `${error.name} ${system && `(${system}) `}${place}: nobody foresaw this, please report it`
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ')
