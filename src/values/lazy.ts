import type * as z from 'zod'

/**
 * What is made when it is first asked for, and then kept: above all a schema. To make all of them as the script starts would
 * be most of that time, while a request needs one or two, and those of the answers only the document.
 */
export function lazy<T extends object>(make: () => T): () => T {
  let made: T | undefined
  return () => {
    made ??= make()
    return made
  }
}

/** What a schema that is made by `lazy` gives. */
export type Of<M extends () => z.ZodType> = z.infer<ReturnType<M>>
