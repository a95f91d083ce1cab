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

/** `changes` laid over `fields`: objects are merged, null takes a field away. */
export function merge(fields: Record<string, unknown>, changes: Record<string, unknown>): Record<string, unknown> {
  const merged = { ...fields }
  for (const [name, change] of Object.entries(changes)) {
    const now = merged[name]
    if (change === null) delete merged[name]
    else merged[name] = isObject(now) && isObject(change) ? merge(now, change) : change
  }
  return merged
}

/** The same text for the same content, whatever the order of the names. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value) ?? ''
  const names = Object.keys(value).sort()
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`
}
