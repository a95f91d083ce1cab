/** A text that is one of a few words. */
import { type SchemaOptions, type TUnsafe, Type } from '@sinclair/typebox'

/** `enum` is what readers of OpenAPI know best; a union of literals would be `anyOf` with a `const` each. */
export const StringEnum = <const Words extends readonly string[]>(
  words: Words,
  options?: SchemaOptions
): TUnsafe<Words[number]> => Type.Unsafe({ type: 'string', enum: words, ...options })
