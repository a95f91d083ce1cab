/** Settings are shared by everything, so nobody may change them. */

/** Freezes what is reachable, in place. Buffers stay as they are: JavaScript cannot freeze their bytes. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
