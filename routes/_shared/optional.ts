/** A member of an answer that may be absent. */
import { type Static, type TOptional, type TSchema, type TUnsafe, Type } from '@sinclair/typebox'

/**
 * As Type.Optional, which takes no undefined as a value. In answers it may be one: the serializer leaves out what is
 * undefined.
 */
export const Optional = <T extends TSchema>(schema: T): TOptional<TUnsafe<Static<T> | undefined>> =>
  Type.Optional(Type.Unsafe<Static<T> | undefined>(schema))
