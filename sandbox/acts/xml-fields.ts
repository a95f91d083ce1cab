/** Fields of the flat XML of v2, and changes to them. */

/** Empty fields would be legal too, but WeChat leaves them out. */
export function xmlFields(fields: Record<string, string | number | undefined>): Map<string, string> {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined && value !== '')
  return new Map(entries.map(([name, value]) => [name, String(value)]))
}

/** null takes a field away. */
export function changeFields(fields: Map<string, string>, changes: Record<string, unknown> = {}): void {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) fields.delete(name)
    else fields.set(name, String(value))
  }
}
