/** What a setting's schema says beside its type: for issues, for `.env.example` and for `docs/settings.md`. */

import type { TSchema } from '@sinclair/typebox'

export interface Notes {
  /** What the setting is for: one or more sentences. */
  description: string
  /** What is wrong with a value that is refused: `must be …`. */
  rule: string
  /** What kind of text it is, where "text" says too little. */
  kind?: string | undefined
  unit?: string | undefined
  /** Never shown anywhere; may come as `NAME_FILE`. */
  secret?: true | undefined
  /** A secret of any form: nothing but `guessable` tells whether it is one. */
  free?: true | undefined
  /** No secret, but may come as `NAME_FILE` all the same, because it is usually kept as a file. */
  file?: true | undefined
  /** Required, unless this other setting is given. */
  alternative?: string | undefined
  /** A command that makes such a value. */
  make?: string | undefined
}

/** Typed access to what a schema says of its setting. */
export function notesOf(schema: TSchema): Notes {
  const { description = '', rule = '', kind, unit, secret, free, file, alternative, make }: Partial<Notes> = schema
  return { description, rule, kind, unit, secret, free, file, alternative, make }
}
