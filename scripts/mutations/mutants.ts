import { parseAst } from 'vitest/node'

/** A place where something can be left out: a guard, or a condition of a write. */
export interface Mutant {
  file: string
  line: number
  /** What is left out, in one line. */
  text: string
  start: number
  end: number
  /** What replaces it: of a statement or a guard nothing. */
  replacement: string
  /** What runs when it would be evaluated. */
  place: Place
}

interface Place {
  start: number
  end: number
  /**
   * A refusal (`if (…) throw …`, `… ? … : null`), which matters if its condition is `when`; a call that may throw; a
   * guard that a route names; one side of a condition; or part of a query.
   */
  kind: 'refusal' | 'call' | 'guard' | 'side' | 'query'
  test?: { start: number; end: number; when: boolean }
}

// biome-ignore lint/suspicious/noExplicitAny: the nodes of a syntax tree, told apart by their type
type Node = any

/** Calls that only check, and throw. */
const ASSERTS = /^(assert|require|rely)/
/** Calls that refuse, and constants that say no. */
const REFUSES = /^(refuse|refused|replaceAnswer|toSignIn|undefined|[A-Z][A-Z_]+)$/
/** Middleware in front of a handler that stops nobody: everything else there is a guard. */
const NO_GUARD = /^(operation|body|query|form|input)$/
const METHODS = /^(get|post|put|patch|delete|use)$/
const INDEX = /^(uniqueI|i)ndex$/
/** How names of booleans begin. */
const DECIDES = /^(is|has|may|can|must|owes|fits|was|needs|outranks|sees|comes)/
const TRUE = 'sql`1`'

/** Everything in a file that can be left out, by its syntax tree. */
export function findMutants(file: string, source: string): Mutant[] {
  const found = new Map<string, Mutant>()
  const add = (
    { start, end }: { start: number; end: number },
    replacement: string,
    { leftOut = source.slice(start, end), ...place }: Partial<Place> & { leftOut?: string } = {},
  ) => {
    const text = leftOut.replace(/\s+/g, ' ').trim()
    const line = source.slice(0, start).split('\n').length
    found.set(`${start} ${end} ${replacement}`, {
      file,
      line,
      text,
      start,
      end,
      replacement,
      place: { start, end, kind: 'query', ...place },
    })
  }
  /** Each side of `&&` and `||`. */
  const sidesOf = (node: Node): void => {
    if (node?.type !== 'LogicalExpression' || node.operator === '??') return
    for (const [side, other] of [
      [node.left, node.right],
      [node.right, node.left],
    ]) {
      const leftOut = source.slice(side.start, side.end)
      add(node, `(${source.slice(other.start, other.end)})`, { leftOut, kind: 'side' })
      sidesOf(side)
    }
  }
  const rules: Record<string, (node: Node) => void> = {
    IfStatement(node) {
      if (node.alternate || !isRefusal(node.consequent)) return
      add(node, '', { kind: 'refusal', test: { ...rangeOf(node.test), when: true } })
      sidesOf(node.test)
    },
    ExpressionStatement(node) {
      if (ASSERTS.test(nameOf(callIn(node.expression)?.callee))) add(node, '', { kind: 'call' })
    },
    ConditionalExpression(node) {
      const { test, consequent, alternate } = node
      const [yes, when] = isNo(alternate) ? [consequent, false] : [alternate, true]
      if (when && !isNo(consequent)) return
      const { start, end } = rangeOf(yes)
      add(node, source.slice(start, end), { kind: 'refusal', test: { ...rangeOf(test), when } })
      sidesOf(test)
    },
    CallExpression(node) {
      const name = nameOf(node.callee)
      const given: Node[] = node.arguments
      if (name === 'and' && given.length > 1) for (const one of given) add(one, 'undefined')
      if ((name === 'insertWhere' || name === 'record') && given[2]) add(given[2], TRUE)
      if (name === 'writeBatch' && given[1]) add(given[1], 'undefined')
      if (METHODS.test(name) && typeof given[0]?.value === 'string')
        for (const guard of given.slice(1, -1)) {
          const guardName = nameOf(callIn(guard)?.callee ?? guard)
          if (guardName && !NO_GUARD.test(guardName)) add(guard, '', { kind: 'guard' })
        }
    },
    VariableDeclarator({ id, init }) {
      if (!DECIDES.test(id.name ?? '')) return
      sidesOf(init?.type === 'ArrowFunctionExpression' ? init.body : init)
    },
    FunctionDeclaration({ id, body }) {
      if (!DECIDES.test(id?.name ?? '')) return
      for (const statement of body.body) if (statement.type === 'ReturnStatement') sidesOf(statement.argument)
    },
    TaggedTemplateExpression(node) {
      if (nameOf(node.tag) !== 'sql') return
      for (const [start, end] of conjunctsOf(source, node.quasi)) add({ start, end }, '1', rangeOf(node))
    },
  }
  const visit = (node: Node): void => {
    if (typeof node !== 'object' || node === null || isOfIndex(node)) return
    rules[node.type]?.(node)
    for (const child of Array.isArray(node) ? node : Object.values(node)) visit(child)
  }
  visit(parseAst(source, { lang: file.endsWith('x') ? 'tsx' : 'ts' }))
  return [...found.values()].sort((a, b) => a.start - b.start)
}

/**
 * The source with a switch wherever a mutant would be evaluated: where `leftOut__(index)` says yes, it is left out.
 * Otherwise `matters__` and `differs__` tell whether leaving it out would change anything (left-out.ts). `sql__` stands for Drizzle's `sql`. A guard that is left out still declares what it checks: its
 * behaviour has to be missed, and not its line in the API document.
 */
export function withSwitches(source: string, mutants: Mutant[]): string {
  const marks = mutants.flatMap(({ start, end, replacement, place }, index) => {
    const call = `leftOut__(${index})`
    const mutated =
      source.slice(place.start, start) + replacement.replace('sql`', 'sql__`') + source.slice(end, place.end)
    // A spread argument keeps its dots in front.
    const isSpread = source.startsWith('...', place.start)
    const either = `(${call} ? ${isSpread ? `[${mutated}]` : mutated} : `
    const isStatement = place.kind === 'refusal' && !replacement
    const differs = place.kind === 'side' && isTellable({ place, replacement })
    const [open, close] = {
      // In braces, or an `else` behind it would become its own.
      refusal: isStatement ? [`{ if (!${call}) { `, ' } }'] : [either, ')'],
      call: [`{ if (!${call}) { `, ' } }'],
      guard: [`guards__(${index}, `, ')'],
      side: differs ? [`${either}differs__(${index}, `, `, () => ${mutated}))`] : [either, ')'],
      query: [either, ')'],
    }[place.kind] as [string, string]
    const around = (range: { start: number; end: number }, before: string, after: string, rank: number) => [
      { at: range.start, text: before, isOpen: true, other: range.end, rank },
      { at: range.end, text: after, isOpen: false, other: range.start, rank },
    ]
    const { test } = place
    return [
      ...around({ start: isSpread ? place.start + 3 : place.start, end: place.end }, open, close, index),
      // Around what may be left out of the condition itself.
      ...(test ? around(test, `matters__(${index}, `, `, ${test.when})`, index + 0.5) : []),
    ]
  })
  // At one place: what ends there first, the innermost first; then what begins there, the outermost first.
  marks.sort(
    (a, b) =>
      a.at - b.at ||
      Number(a.isOpen) - Number(b.isOpen) ||
      b.other - a.other ||
      (a.isOpen ? a.rank - b.rank : b.rank - a.rank),
  )
  let [switched, done] = ['', 0]
  for (const { at, text } of marks) {
    switched += source.slice(done, at) + text
    done = at
  }
  return switched + source.slice(done)
}

/** A call, which may do something: it is not made twice. */
const CALLS = /[\w)\]]\(|\bawait\b/

/**
 * Whether a run of the tests tells which of them would notice: see `Place`. A guard may act without stopping anybody, as a
 * call may without throwing.
 */
export const isTellable = ({ place: { kind }, replacement }: Pick<Mutant, 'place' | 'replacement'>) =>
  kind === 'refusal' || (kind === 'side' && !CALLS.test(replacement))

/** `throw …`, `return`, or a return of what says no: alone, or as the only statement of a block. */
function isRefusal(statement: Node): boolean {
  if (statement.type === 'BlockStatement') return statement.body.length === 1 && isRefusal(statement.body[0])
  if (statement.type === 'ThrowStatement') return true
  if (statement.type === 'ExpressionStatement') return isNo(statement.expression)
  return statement.type === 'ReturnStatement' && (statement.argument === null || isNo(statement.argument))
}

/** Whether an expression says no: `false`, `null`, `undefined`, `INACTIVE`, `new Refusal(…)`, `refuse(…)`. */
const isNo = (node: Node): boolean =>
  node.value === false ||
  node.raw === 'null' ||
  REFUSES.test(nameOf(callIn(node)?.callee ?? node)) ||
  (node.type === 'NewExpression' && /Refusal|Error/.test(nameOf(node.callee)))

/** What an index covers is part of the schema: it decides nothing when a request runs. */
const isOfIndex = (node: Node) => node.type === 'CallExpression' && INDEX.test(nameOf(firstOf(node)))
/** `index` of `index('by_name').on(…).where(…)`. */
const firstOf = (node: Node): Node =>
  node?.type === 'CallExpression'
    ? firstOf(node.callee)
    : node?.type === 'MemberExpression'
      ? firstOf(node.object)
      : node

const callIn = (node: Node): Node | undefined =>
  node.type === 'AwaitExpression' ? callIn(node.argument) : node.type === 'CallExpression' ? node : undefined

/** `record` of `record(…)`, `writeBatch` of `resources.db.writeBatch(…)`. */
const nameOf = (node: Node): string => node?.name ?? node?.property?.name ?? ''

const rangeOf = ({ start, end }: Node) => ({ start, end })

/** Where a condition begins or ends. */
const AROUND =
  /^(WHERE|ON|WHEN|THEN|ELSE|END|OR|AND|SELECT|SET|FROM|ORDER|GROUP|LIMIT|RETURNING|AS|DO|HAVING|UNION)$/

/** Both sides of each AND in an SQL template, and a condition that stands alone, as positions in the source. */
function conjunctsOf(source: string, quasi: Node): [start: number, end: number][] {
  const tokens = tokensOf(source, quasi)
  const pairs = tokens.flatMap((token, at) => {
    if (token.word !== 'AND') return []
    const isAround = (other: (typeof tokens)[number]) =>
      other.depth < token.depth || (other.depth === token.depth && AROUND.test(other.word))
    const before = tokens.findLastIndex((other, i) => i < at && isAround(other))
    const behind = tokens.findIndex((other, i) => i > at && isAround(other))
    const left = tokens.slice(before + 1, at)
    const right = tokens.slice(at + 1, behind === -1 ? undefined : behind)
    if (left.some(({ word, depth }) => word === 'BETWEEN' && depth === token.depth)) return []
    return [left, right].filter((part) => part.length > 0)
  })
  const alone = tokens.filter(({ word, depth }, at) => {
    const next = tokens[at + 1]
    return (
      word === '?' &&
      tokens[at - 1]?.word === 'WHERE' &&
      (!next || next.depth < depth || (AROUND.test(next.word) && next.word !== 'AND'))
    )
  })
  return [...pairs, ...alone.map((token) => [token])].map((part) => [part[0]!.start, part.at(-1)!.end])
}

/** The words, parentheses and `${…}` of a template, each with its depth in parentheses. */
function tokensOf(source: string, { quasis }: Node) {
  const tokens: { word: string; depth: number; start: number; end: number }[] = []
  let depth = 0
  for (const [index, part] of quasis.entries()) {
    const next = quasis[index + 1]
    // A part includes its delimiters: a backtick or `}` before it, `${` or a backtick after it.
    const [start, end] = [part.start + 1, part.end - (next ? 2 : 1)]
    const words = source.slice(start, end).matchAll(/'(?:[^']|'')*'|[()]|[^\s()']+/g)
    for (const { 0: word, index: at } of words) {
      if (word === ')') depth -= 1
      tokens.push({ word, depth, start: start + at, end: start + at + word.length })
      if (word === '(') depth += 1
    }
    if (next) tokens.push({ word: '?', depth, start: end, end: next.start + 1 })
  }
  return tokens
}

export const toLine = ({ file, line, text }: Mutant) => `${file}:${line}  ${text}`
