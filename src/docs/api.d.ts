/** What public/explorer.js reads of an OpenAPI 3.1 document, and of the API that it describes. */
export interface Api {
  info: { description: string }
  tags: { name: string; description?: string }[]
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema> }
}

export interface Operation {
  operationId: string
  tags: string[]
  summary: string
  description?: string
  parameters?: { in: string; name: string; required?: boolean; description?: string; schema: Schema }[]
  security: object[]
  'x-permission'?: string
  'x-roles'?: string[]
  requestBody?: { content: Record<string, Media> }
  responses: Record<string, Answer>
}

export interface Answer {
  description: string
  headers?: Record<string, { description?: string }>
  content?: Record<string, Media>
}

interface Media {
  schema?: Schema
  examples?: Record<string, { value: { detail: string } }>
}

export interface Schema {
  $ref?: string
  type?: string | string[]
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  anyOf?: Schema[]
  enum?: unknown[]
  const?: unknown
  format?: string
  default?: unknown
  example?: unknown
  description?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
}

/** Who is signed in. */
export interface Signed {
  user: { email: string; role: string }
}
