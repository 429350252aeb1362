import * as z from 'zod'

export type JsonSchema = z.core.JSONSchema.BaseSchema

/** One of our schemas as JSON Schema, the language of OpenAPI 3.1. Schemas with an `id` go to its `$defs`. */
export function toJsonSchema(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _, ...jsonSchema } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => tidy(jsonSchema, io),
  })
  return jsonSchema
}

/**
 * Removes zod's details that nobody can use: the range of a double, and regular expressions of known formats.
 */
function tidy(jsonSchema: JsonSchema, io: 'input' | 'output'): void {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  if (jsonSchema.format) delete jsonSchema.pattern
  delete jsonSchema.propertyNames
  delete jsonSchema.id
  // A value that may be anything needs no schema.
  if (
    jsonSchema.properties &&
    Object.keys(Object(jsonSchema.additionalProperties)).length === 0 &&
    jsonSchema.additionalProperties !== false
  )
    delete jsonSchema.additionalProperties
  // Clients generated today have to accept the answers of later versions, with added members.
  if (io === 'output' && jsonSchema.properties) delete jsonSchema.additionalProperties
  // A schema's own meta wins where zod cannot know.
  Object.assign(jsonSchema, jsonSchema.override)
  delete jsonSchema.override
}
