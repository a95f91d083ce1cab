/** Names that nobody gives: random ones, and those of bytes. */
import { hash, randomBytes } from 'node:crypto'

/** New for every call: 32 hex digits. */
export const makeNonce = (): string => randomBytes(16).toString('hex')

/** The same for the same bytes: 32 hex digits of their SHA-256. */
export const contentHash = (content: string | Buffer): string => hash('sha256', content).slice(0, 32)
