/**
 * WeChat's answers as text and as JSON, however they are labelled, spaced or coded
 * (docs/wechat/mini-program.md 0).
 */
import { brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync, zstdDecompressSync } from 'node:zlib'
import type { Incoming } from '../http/exchange.ts'
import { MAX_ANSWER_BYTES } from '../http/exchange.ts'
import { isPlainObject, readJsonObject } from '../util/json.ts'

type Answer = Pick<Incoming, 'headers' | 'body'>
type Undo = (bytes: Buffer, limit: { maxOutputLength: number }) => Buffer

/** RFC 9110 names zlib's format deflate; some servers send it without zlib's head. */
const inflate: Undo = (bytes, limit) => {
  try {
    return inflateSync(bytes, limit)
  } catch {
    return inflateRawSync(bytes, limit)
  }
}

const UNDO: Readonly<Record<string, Undo>> = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  deflate: inflate,
  br: brotliDecompressSync,
  zstd: zstdDecompressSync
}

const isGzip = (body: Buffer): boolean => body[0] === 0x1f && body[1] === 0x8b

/** The codings of the body, the outermost first. One that came without its label is told by its first bytes. */
function codingsOf({ headers, body }: Answer): string[] {
  const named = [headers['content-encoding'] ?? []].flat().join(',').toLowerCase().split(',')
  const codings = named.map((name) => name.trim()).filter((name) => name !== '' && name !== 'identity')
  return codings.length === 0 && isGzip(body) ? ['gzip'] : codings.reverse()
}

/**
 * The body without its content coding. We ask for none (`accept-encoding: identity`), so this is for servers on the way
 * that do not listen. A body that is not coded as its label says comes back as it is; undefined where it would be
 * longer than `limitBytes`.
 */
export function decodedBody(answer: Answer, limitBytes = MAX_ANSWER_BYTES): Buffer | undefined {
  if (answer.body.length > limitBytes) return undefined
  try {
    return codingsOf(answer).reduce(
      (bytes, name) => UNDO[name]?.(bytes, { maxOutputLength: limitBytes }) ?? bytes,
      answer.body
    )
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' ? undefined : answer.body
  }
}

const CHARSET = /;\s*charset\s*=\s*"?([\w.:-]+)/i

/** By its byte order mark, else by its label, else UTF-8. Never throws: what does not fit becomes U+FFFD. */
function decodeText(bytes: Buffer, contentType: string): string {
  const mark = bytes.length > 1 ? bytes.readUInt16BE() : 0
  const named = CHARSET.exec(contentType)?.[1] ?? 'utf-8'
  const charset = mark === 0xfeff ? 'utf-16be' : mark === 0xfffe ? 'utf-16le' : named
  try {
    return new TextDecoder(charset).decode(bytes)
  } catch {
    return new TextDecoder().decode(bytes)
  }
}

const FIRST_BRACE = 0x7b

/** Without the byte order mark, the white space and the NULs around it. */
function textOf(body: Buffer, headers: Answer['headers']): string {
  const type = String(headers['content-type'] ?? '')
  const isPlain = body[0] === FIRST_BRACE && !CHARSET.test(type)
  return (isPlain ? body.toString() : decodeText(body, type)).replace(/^[\uFEFF\s]+|[\0\s]+$/g, '')
}

/** The text of an answer; undefined where it would be longer than any answer of WeChat's. */
export function answerText(answer: Answer): string | undefined {
  const body = decodedBody(answer)
  return body && textOf(body, answer.headers)
}

/**
 * Whether the first byte that is no blank opens an object, or may belong to a byte order mark before one. No picture's
 * does.
 */
export function mayBeObject(body: Buffer): boolean {
  const at = body.findIndex((byte) => byte > 0x20)
  const [first, second] = [body[at], body[at + 1]]
  return first === FIRST_BRACE || first === 0xef || first === 0xfe || (first === 0xff && second === 0xfe)
}

/**
 * The JSON object that a text of WeChat's is; undefined where it is none. Only what JSON.parse refuses is read
 * leniently.
 */
export function readObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isPlainObject(value) ? value : undefined
  } catch {
    return readJsonObject(text)
  }
}

/** A failure is short. Large successes are not looked into, and cost nothing. */
export const LONGEST_FAILURE_BYTES = 64 * 1024

/** The errcode of a failure of WeChat's; 0 where it is none. An errcode deeper down belongs to the data. */
export function errcodeOf(answer: Answer): number {
  const body = decodedBody(answer, LONGEST_FAILURE_BYTES)
  if (body === undefined || !mayBeObject(body)) return 0
  const text = textOf(body, answer.headers)
  if (!text.startsWith('{') || !text.includes('errcode')) return 0
  const errcode = readObject(text)?.errcode
  const number = typeof errcode === 'string' || typeof errcode === 'number' ? Number(errcode) : 0
  return Number.isInteger(number) ? number : 0
}
