/** The members of a body that a page posted: what is there, what is not, and what was meant. */

export interface Members {
  /** Without what counts as absent, and without what is not known. */
  taken: Record<string, unknown>
  /** A member that is another one by its name, in another spelling. */
  misspelt: { given: string; meant: string } | undefined
}

/** What other libraries, and WeChat's servers, call them; plain. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  jscode: 'code',
  phonecode: 'code',
  encryptdata: 'encryptedData'
}

/** An absent value may also be null or an empty text. */
export const isAbsent = (value: unknown): boolean => value === undefined || value === null || value === ''

/**
 * Pages post the details of an event as they are, with more in them than is needed: those members are left out. `known`
 * are the names of what is needed.
 */
export function takeMembers(body: object, known: readonly string[]): Members {
  const present = Object.entries(body).filter(([, value]) => !isAbsent(value))
  const [wrong] = present.flatMap(([given]) => {
    const meant = known.includes(given) ? undefined : meantBy(given, known)
    return meant === undefined || present.some(([name]) => name === meant) ? [] : [{ given, meant }]
  })
  return { taken: Object.fromEntries(present.filter(([name]) => known.includes(name))), misspelt: wrong }
}

function meantBy(given: string, known: readonly string[]): string | undefined {
  const plain = plainOf(given)
  const other = Object.hasOwn(OTHER_NAMES, plain) ? OTHER_NAMES[plain] : undefined
  return known.find((name) => plainOf(name) === plain || name === other)
}

/** Without capitals and what stands between words. */
const plainOf = (name: string): string => name.toLowerCase().replaceAll(/[_-]/g, '')
