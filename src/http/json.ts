import { AppError } from './problem.ts'

const MAX_JSON_DEPTH = 32

export const invalidJson = () =>
  new AppError(400, 'invalid_json', 'The body is not JSON (UTF-8, no member twice, at most 32 levels deep).')

/** JSON.parse, but a duplicate member is an error: two readers may disagree on which one counts. */
export function parseJson(text: string): unknown {
  try {
    const value = JSON.parse(text)
    assertFlatAndUnique(text)
    return value
  } catch {
    throw invalidJson()
  }
}

/** Looks once at each character of JSON that has been parsed already, so its time is linear. */
function assertFlatAndUnique(json: string): void {
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < json.length; at++) {
    const char = json[at]
    if (char === '{' || char === '[') {
      if (open.push(char === '{' ? new Set() : undefined) > MAX_JSON_DEPTH) throw new SyntaxError('too deep')
    } else if (char === '}' || char === ']') {
      open.pop()
    } else if (char === '"') {
      const end = endOfString(json, at)
      const next = skipBlanks(json, end)
      if (json[next] === ':') addOnce(open.at(-1)!, JSON.parse(json.slice(at, end)))
      at = next - 1
    }
  }
}

/** The index at which the string that begins at `start` ends. */
function endOfString(json: string, start: number): number {
  let at = start + 1
  while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1
  return at + 1
}

function skipBlanks(json: string, start: number): number {
  let at = start
  while (at < json.length && ' \t\n\r'.includes(json[at]!)) at++
  return at
}

function addOnce(members: Set<string>, name: string): void {
  if (members.has(name)) throw new SyntaxError('member twice')
  members.add(name)
}
