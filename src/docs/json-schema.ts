import * as z from 'zod'

export type JsonSchema = z.core.JSONSchema.BaseSchema

/** A schema of ours as JSON Schema, which OpenAPI 3.1 speaks; those with an `id` stand in its `$defs`. */
export function toJsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...jsonSchema } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => tidy(jsonSchema, io),
  })
  return jsonSchema
}

/** Leaves out what zod says and nobody can use: the range of a double, and regular expressions of known formats. */
function tidy(jsonSchema: JsonSchema, io: 'input' | 'output'): void {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  if (jsonSchema.format) delete jsonSchema.pattern
  delete jsonSchema.propertyNames
  delete jsonSchema.id
  // What may be anything goes without saying.
  if (
    jsonSchema.properties &&
    Object.keys(Object(jsonSchema.additionalProperties)).length === 0 &&
    jsonSchema.additionalProperties !== false
  )
    delete jsonSchema.additionalProperties
  // A client that is generated today has to read the answers of tomorrow, with members that are added.
  if (io === 'output' && jsonSchema.properties) delete jsonSchema.additionalProperties
  // What a schema's meta says of itself, where zod cannot know.
  Object.assign(jsonSchema, jsonSchema.override)
  delete jsonSchema.override
}
