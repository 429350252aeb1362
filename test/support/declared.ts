import type { Api } from './api.ts'

/** The problem codes that the API document declares for an operation: `POST /v1/invitations/{id}/resend`. */
export async function declaredCodes(api: Api, operation: string): Promise<string[]> {
  const [method, path] = operation.split(' ') as [string, string]
  type Responses = Record<string, { content?: Record<string, { examples?: object }> }>
  type Paths = Record<string, Record<string, { responses: Responses }>>
  const { paths } = (await api.send<{ paths: Paths }>('GET', '/openapi.json')).body
  return Object.values(paths[path]![method.toLowerCase()]!.responses).flatMap(({ content }) =>
    Object.keys(content?.['application/problem+json']?.examples ?? {}),
  )
}
