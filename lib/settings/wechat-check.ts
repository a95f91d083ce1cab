/** Judges a document of apps and merchants: each field by its schema, then what only holds between fields. */

import type { TObject, TSchema } from '@sinclair/typebox'
import { Value, ValueErrorType } from '@sinclair/typebox/value'
import { readRsaCertificate, readRsaPrivateKey, serialOf } from '../crypto/pem.ts'
import { isPlainObject } from '../util/json.ts'
import type { Issues } from './issues.ts'
import { notesOf } from './notes.ts'
import { likelySlip } from './slips.ts'
import { WechatConfig } from './wechat-schema.ts'

/** How the document was given, for the words of a fault. Places are JSON pointers. */
export interface Form {
  nameOf: (path: string) => string
  missing: (path: string) => string
}

/** One app or merchant, possibly with issues of its own. */
interface Entry {
  path: string
  given: Readonly<Record<string, unknown>>
  has: (field: string) => boolean
  /** A text field, if its own rule holds. */
  sound: (field: string) => string | undefined
}

type Tell = (entry: Entry, field: string, problem: string) => void

/** Answers the document, typed, or undefined where a field breaks its schema. */
export function checkDocument(document: unknown, form: Form, issues: Issues): WechatConfig | undefined {
  const faulty = checkFields(document, form, issues)
  const tell: Tell = ({ path }, field, problem) => issues.add(form.nameOf(`${path}/${field}`), problem)
  const apps = entriesOf(document, 'apps', faulty)
  const merchants = entriesOf(document, 'merchants', faulty)
  checkDistinct(apps, 'appid', tell)
  checkDistinct(merchants, 'mchid', tell)
  for (const app of apps) checkPush(app, tell)
  for (const merchant of merchants) {
    checkMerchantKeys(merchant, tell)
    checkCertificate(merchant, tell)
    checkAppids(merchant, apps, tell)
  }
  return Value.Check(WechatConfig, document) ? document : undefined
}

/** Reports each faulty place once and answers their paths. */
function checkFields(document: unknown, form: Form, issues: Issues): Set<string> {
  const faulty = new Set<string>()
  for (const { path, schema, type, value } of Value.Errors(WechatConfig, document)) {
    const isUnknown = type === ValueErrorType.ObjectAdditionalProperties
    const place = isUnknown ? path.slice(0, path.lastIndexOf('/')) : path
    if (faulty.has(place)) continue
    faulty.add(place)
    if (typeof value === 'string') issues.remark(form.nameOf(place), likelySlip(value, schema))
    const isMissing = type === ValueErrorType.ObjectRequiredProperty
    issues.add(form.nameOf(place), isMissing ? form.missing(place) : problemOf(schema, isUnknown))
  }
  return faulty
}

/** An unknown field is not named: it came from outside, and a slip can put a secret there. */
function problemOf(schema: TSchema, isUnknown: boolean): string {
  if (!isUnknown) return notesOf(schema).rule
  const { properties } = schema as TObject
  return `has an unknown field; the known ones are ${Object.keys(properties).join(', ')}`
}

function entriesOf(document: unknown, list: string, faulty: ReadonlySet<string>): Entry[] {
  const items = isPlainObject(document) ? document[list] : undefined
  if (!Array.isArray(items)) return []
  return items.flatMap((given: unknown, index) => {
    return isPlainObject(given) ? [entryAt(`/${list}/${index}`, given, faulty)] : []
  })
}

function entryAt(path: string, given: Readonly<Record<string, unknown>>, faulty: ReadonlySet<string>): Entry {
  return {
    path,
    given,
    has: (field) => given[field] !== undefined,
    sound: (field) => {
      const value = given[field]
      return typeof value === 'string' && !faulty.has(`${path}/${field}`) ? value : undefined
    }
  }
}

function checkDistinct(entries: Entry[], field: string, tell: Tell): void {
  const seen = new Set<string>()
  for (const entry of entries) {
    const value = entry.sound(field)
    if (value !== undefined && seen.has(value)) tell(entry, field, 'is given to an earlier entry already')
    if (value !== undefined) seen.add(value)
  }
}

/** The token signs every push, encrypted ones too. */
function checkPush(app: Entry, tell: Tell): void {
  if (app.has('pushAesKey') && !app.has('pushToken')) tell(app, 'pushToken', 'is required beside the AES key')
}

/**
 * API v2 needs its key; API v3 its key, the certificate's serial and the private key. Certificate and private key alone
 * are no sign of v3: refunds by v2 use them.
 */
function checkMerchantKeys(merchant: Entry, tell: Tell): void {
  const { has } = merchant
  const hasCertificate = has('cert')
  const isV3 =
    ['apiV3Key', 'certSerial', 'publicKeyId', 'publicKey'].some(has) || (has('privateKey') && !hasCertificate)
  if (isV3) {
    const together =
      'is required: API v3 needs its key, the certificate serial (or the certificate) and the private key'
    const needed = ['apiV3Key', 'privateKey', ...(hasCertificate ? [] : ['certSerial'])]
    for (const field of needed.filter((field) => !has(field))) tell(merchant, field, together)
  } else {
    if (!has('apiV2Key')) tell(merchant, 'apiV2Key', 'is required, unless the keys of API v3 are given')
    if (hasCertificate && !has('privateKey')) tell(merchant, 'privateKey', 'is required beside the certificate')
  }
  if (has('publicKeyId') && !has('publicKey')) tell(merchant, 'publicKey', 'is required beside its id')
  if (has('publicKey') && !has('publicKeyId')) tell(merchant, 'publicKeyId', 'is required beside the public key')
}

function checkCertificate(merchant: Entry, tell: Tell): void {
  const certificate = readRsaCertificate(merchant.sound('cert') ?? '')
  if (certificate === undefined) return
  const serial = merchant.sound('certSerial')?.toUpperCase()
  if (serial !== undefined && serial !== serialOf(certificate)) {
    tell(merchant, 'certSerial', 'must be the serial number of the certificate given')
  }
  const privateKey = readRsaPrivateKey(merchant.sound('privateKey') ?? '')
  if (privateKey !== undefined && !certificate.checkPrivateKey(privateKey)) {
    tell(merchant, 'privateKey', 'must belong to the certificate given')
  }
}

function checkAppids(merchant: Entry, apps: Entry[], tell: Tell): void {
  const { appids } = merchant.given
  const configured = new Set(apps.map(({ given }) => given.appid))
  if (!Array.isArray(appids)) return
  appids.forEach((appid: unknown, index) => {
    if (typeof appid === 'string' && !configured.has(appid))
      tell(merchant, `appids/${index}`, 'must be a configured app')
  })
}
