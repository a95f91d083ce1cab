/** What an error of Redis, or of the way to it, means: why it cannot serve now, and what a person does about it. */

export interface Trouble {
  /** Redis' own word for it, such as READONLY, or the system's, such as ECONNREFUSED. */
  cause: string
  /** Goes on behind the address of that Redis, so it begins with a verb. Never what was asked, which may be secret. */
  reason: string
  /** REDIS_URL is wrong, so that a start with it is in vain. */
  isSetting: boolean
  /** Another connection may lead to a Redis that serves, as after a failover that leaves this one open. */
  mayBeElsewhere: boolean
}

interface Row extends Partial<Omit<Trouble, 'cause' | 'reason'>> {
  message: RegExp
  /** Default: the first word of the message. */
  cause?: string
  reason: string
}

const NO_PERMISSION = 'does not let the user of REDIS_URL do what is needed: docs/operations.md names the least ACL'
const elsewhere = { mayBeElsewhere: true }
const setting = { isSetting: true }
const closed = {
  cause: 'CLOSED',
  reason: 'closed the connection; where it expects TLS, REDIS_URL begins with rediss://'
}

/** What Redis itself answers. From scripts the same words come, before Redis 7 behind "ERR Error running script". */
const ANSWERS: Row[] = [
  { message: /^READONLY\b/, reason: 'is a replica: REDIS_URL has to lead to the primary', ...elsewhere },
  { message: /^UNBLOCKED\b/, reason: 'became a replica: REDIS_URL has to lead to the primary', ...elsewhere },
  { message: /^(MASTERDOWN|NOMASTERLINK)\b/, reason: 'is a replica that has lost its primary', ...elsewhere },
  { message: /^LOADING\b/, reason: 'is loading its data from its disk', ...elsewhere },
  { message: /^OOM\b/, reason: 'is full: raise maxmemory, or find out what fills it', ...elsewhere },
  { message: /^MISCONF\b/, reason: 'cannot write its snapshot, so it takes no writes: see to its disk', ...elsewhere },
  { message: /^NOREPLICAS\b/, reason: 'has fewer replicas than its min-replicas-to-write', ...elsewhere },
  { message: /^(CLUSTERDOWN|TRYAGAIN)\b/, reason: 'is a node of a Redis Cluster that is down', ...elsewhere },
  { message: /^BUSY\b/, reason: "is held up by somebody's script: SCRIPT KILL ends it" },
  { message: /^(MOVED|ASK|CROSSSLOT)\b/, reason: 'is a node of a Redis Cluster, which is not served', ...setting },
  { message: /^NOAUTH\b/, reason: 'asks for a password: REDIS_URL has none', ...setting },
  { message: /^WRONGPASS\b/, reason: 'refuses the user or the password of REDIS_URL', ...setting },
  { message: /^NOPERM\b/, reason: NO_PERMISSION },
  { message: /^ERR The user executing the script/, cause: 'NOPERM', reason: NO_PERMISSION },
  { message: /^DENIED\b/, reason: 'is in protected mode: give it a password, or bind it to an address' },
  { message: /^EXECABORT\b/, reason: 'refused a part of a transaction', ...elsewhere },
  { message: /^ERR max number of clients/, cause: 'MAXCLIENTS', reason: 'has no connection left: raise maxclients' },
  { message: /^ERR illegal address/, cause: 'ADDRESS', reason: 'does not list this machine among those it serves' },
  {
    message: /^ERR unknown (sub)?command\b/,
    cause: 'COMMAND',
    reason: 'lacks a command of Redis 7: it is a Sentinel, or too old, or its commands were renamed',
    ...setting
  },
  {
    message: /^ERR (.*\bDB index|SELECT is not allowed)/,
    cause: 'DATABASE',
    reason: 'does not have the database of REDIS_URL',
    ...setting
  }
]

/** What ioredis, Node.js and TLS say where no answer came. */
const WAYS: Row[] = [
  { message: /^(ENOTFOUND|EAI_)/, reason: 'is no host that can be found: is its name right?' },
  { message: /^ECONNREFUSED/, reason: 'refuses connections: nothing listens there' },
  { message: /^ENOENT/, reason: 'is no socket: Redis does not run, or has another unixsocket' },
  { message: /^(EACCES|EPERM)/, reason: 'is a socket that this user may not open' },
  { message: /^(EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENETDOWN|EADDRNOTAVAIL)/, reason: 'cannot be reached from here' },
  { message: /^(EMFILE|ENFILE)/, reason: 'needs a file descriptor, and there is none left: raise the limit' },
  { message: /^(ERR_SSL_|EPROTO)/, reason: 'speaks no TLS: is rediss:// right?' },
  {
    message: /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_TLS_CERT_)/,
    reason: 'shows a certificate that is not trusted: NODE_EXTRA_CA_CERTS names whom to trust'
  },
  { message: /Unknown RESP type/, cause: 'PROTOCOL', reason: 'does not speak the protocol of Redis', ...setting },
  { message: /^(ETIMEDOUT|Command timed out|Socket timeout|connect ETIMEDOUT)/, cause: 'TIMEOUT', reason: 'is silent' },
  { message: /^(ECONNRESET|ECONNABORTED|EPIPE)/, ...closed },
  { message: /^(Connection is (closed|in subscriber mode)|Stream isn't writeable|Command aborted)/, ...closed },
  { message: /^(Reached the max retries|None of startup nodes)/, ...closed }
]

/** What is wrong with Redis; undefined where it is nothing that is known here. */
export function troubleOf(error: unknown): Trouble | undefined {
  if (!(error instanceof Error)) return undefined
  if (error.name === 'ReplyError') return find(ANSWERS, error.message.replace(WITHIN_SCRIPT, ''))
  const { code, syscall } = error as NodeJS.ErrnoException
  const isOfSystem = code !== undefined && (syscall !== undefined || /SSL|TLS|CERT|SIGNED|UNABLE/.test(code))
  return (isOfSystem ? find(WAYS, code) : undefined) ?? find(WAYS, error.message)
}

const WITHIN_SCRIPT = /^ERR Error running script .*?: -?(?=[A-Z]+ )/

function find(rows: Row[], message: string): Trouble | undefined {
  const row = rows.find((row) => row.message.test(message))
  if (row === undefined) return undefined
  const { reason, isSetting = false, mayBeElsewhere = false } = row
  return { cause: row.cause ?? /^\w+/.exec(message)?.[0] ?? '', reason, isSetting, mayBeElsewhere }
}

/** Answers about what was asked, or about what is held there: Redis does its work. Scripts say where they stopped. */
const ABOUT_THE_COMMAND = [
  /^(?:WRONGTYPE|NOSCRIPT|BUSYKEY)\b/,
  /\bscript\b/,
  /^ERR (?:syntax|wrong number|invalid|unknown|no such|index|offset|(?:hash )?value|string exceeds)\b/,
  /^ERR (?:min or max|increment)\b/
]

/** An answer that is none of those known, such as one of a proxy before Redis: what is needed is not done. */
export const unforeseen = (error: unknown): Trouble => ({
  cause: (error as Error).message?.split(' ', 1)[0] ?? 'ERR',
  reason: 'answers what wxgate does not understand',
  isSetting: false,
  mayBeElsewhere: true
})

/** Why Redis cannot serve now; undefined where the mistake is in what was asked of it, or in what is held there. */
export function absenceOf(error: unknown): Trouble | undefined {
  const known = troubleOf(error)
  if (known !== undefined || !(error instanceof Error) || error.name !== 'ReplyError') return known
  return ABOUT_THE_COMMAND.some((row) => row.test(error.message)) ? undefined : unforeseen(error)
}

/** Whether an error says "Redis cannot serve now", as opposed to a mistake in what was asked of it. */
export const isRedisAway = (error: unknown): boolean => absenceOf(error) !== undefined

/** Whether a command that failed so may have been run: it was sent, and its answer did not come. */
export const mayHaveRun = (error: unknown): boolean =>
  error instanceof Error && error.name !== 'ReplyError' && !error.message.startsWith(NOT_SENT)

/** What ioredis says of a command while there is no connection. */
const NOT_SENT = "Stream isn't writeable"

/** That the user of a connection may not run these commands. */
export function lackOf(commands: string[]): Trouble | undefined {
  if (commands.length === 0) return undefined
  const reason = `${NO_PERMISSION}; now it lacks ${commands.join(' ')}`
  return { cause: 'NOPERM', reason, isSetting: false, mayBeElsewhere: false }
}

/** For when nothing more is known. */
export const [NO_ANSWER, CLOSED] = ['Command timed out', 'Connection is closed'].map(
  (message) => find(WAYS, message) as Trouble
) as [Trouble, Trouble]

/**
 * Answers `instead` where the key holds something of another type than the command is for. Other errors stay errors.
 */
export async function unlessWrongType<T>(answer: Promise<T>, instead: () => T): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return instead()
    throw error
  }
}
