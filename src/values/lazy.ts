import type * as z from 'zod'

/**
 * Something that is made on first use and then kept, above all a schema. Making all schemas as the script
 * starts would be most of its start time, while a request needs one or two, and only the API document needs
 * those of answers.
 */
export function lazy<T extends object>(make: () => T): () => T {
  let made: T | undefined
  return () => {
    made ??= make()
    return made
  }
}

/** The output of a schema made by `lazy`. */
export type Of<M extends () => z.ZodType> = z.infer<ReturnType<M>>
