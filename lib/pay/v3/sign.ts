/** The signing rule of APIv3: RSA with SHA-256 (PKCS#1 v1.5) over lines that each end with a line feed, the last one too. */
import { type KeyObject, sign } from 'node:crypto'

/** Signs these lines, base64. Costs about a millisecond of the processor. */
export function signV3(lines: readonly (string | Buffer)[], privateKey: KeyObject): string {
  return sign('sha256', joinLines(lines), privateKey).toString('base64')
}

/** The message that is signed and verified; a body stands in it byte for byte. */
export function joinLines(lines: readonly (string | Buffer)[]): Buffer {
  return Buffer.concat(lines.flatMap((line) => [typeof line === 'string' ? Buffer.from(line) : line, LINE_FEED]))
}

const LINE_FEED = Buffer.from('\n')
