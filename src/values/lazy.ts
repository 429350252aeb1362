import type * as z from 'zod'

/**
 * A schema that is made when it is first asked for, and then kept. To make all of them as the script starts would be
 * most of that time, while a request needs one or two, and those of the answers only the document.
 */
export function lazy<S extends z.ZodType>(make: () => S): () => S {
  let made: S | undefined
  return () => {
    made ??= make()
    return made
  }
}

/** What a schema that is made by `lazy` gives. */
export type Of<M extends () => z.ZodType> = z.infer<ReturnType<M>>
