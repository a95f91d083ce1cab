/** Writes JSON as WeChat does, whose 64-bit ids are bare numbers that a double cannot hold. */

/** The fields as a JSON object; a bigint among them as its digits. */
export function writeJson(fields: object): string {
  const members = Object.entries(fields).map(([name, value]) => `${JSON.stringify(name)}:${writeValue(value)}`)
  return `{${members.join(',')}}`
}

function writeValue(value: unknown): string {
  return typeof value === 'bigint' ? String(value) : JSON.stringify(value)
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The text as a JSON object; undefined where it is none. */
export function readObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}
