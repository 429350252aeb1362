// biome-ignore-all lint/suspicious/noTemplateCurlyInString: what is looked at is source.
import { describe, expect, test } from 'vitest'
import { findMutants, withSwitches } from '../../scripts/mutations/mutants.ts'
import { Asked } from '../support/asked.ts'

const leftOut = (source: string) => findMutants('src/x.ts', source).map(({ text }) => text)
const mutated = (source: string) =>
  findMutants('src/x.ts', source).map(
    ({ start, end, replacement }) => source.slice(0, start) + replacement + source.slice(end),
  )

test('A guard that throws or returns is left out, and each side of its condition', () => {
  expect(leftOut('if (!a || b) throw no()')).toEqual(['if (!a || b) throw no()', '!a', 'b'])
  expect(leftOut('function f() { if (a) { return false } return 1 }')).toEqual(['if (a) { return false }'])
  expect(leftOut('if (a) b()')).toEqual([])
  expect(leftOut('function f() { if (a) return new Refusal() }')).toEqual(['if (a) return new Refusal()'])
  expect(leftOut('if (a && b) refuse(c)')).toEqual(['if (a && b) refuse(c)', 'a', 'b'])
  expect(leftOut('function f() { if (a) return INACTIVE; if (b) return good }')).toEqual([
    'if (a) return INACTIVE;',
  ])
  expect(leftOut('await assertMayHash(r); requireRecentLogin(a, now); send(a)')).toEqual([
    'await assertMayHash(r);',
    'requireRecentLogin(a, now);',
  ])
})

test('A condition that decides between something and nothing is left out', () => {
  expect(mutated('f(a ? b : undefined)')).toEqual(['f(b)'])
  expect(mutated('f(a ? null : b)')).toEqual(['f(b)'])
  expect(mutated('f(a ? b : c)')).toEqual([])
})

test('Guards of a route are left out, and its handler is not', () => {
  expect(
    leftOut("r.post('/x', requirePermission('a'), body(X), limitHashing, async (c) => c.json(1))"),
  ).toEqual(["requirePermission('a')", 'limitHashing'])
})

test('Each condition of a write is left out, however it is written', () => {
  expect(mutated('q.where(and(eq(a, b), isDone))')).toEqual([
    'q.where(and(undefined, isDone))',
    'q.where(and(eq(a, b), undefined))',
  ])
  expect(
    mutated('sql`UPDATE t SET x = 1 WHERE id = ${id} AND (y IS NULL OR z > 1 AND w) ORDER BY id`'),
  ).toEqual([
    'sql`UPDATE t SET x = 1 WHERE 1 AND (y IS NULL OR z > 1 AND w) ORDER BY id`',
    'sql`UPDATE t SET x = 1 WHERE id = ${id} AND 1 ORDER BY id`',
    'sql`UPDATE t SET x = 1 WHERE id = ${id} AND (y IS NULL OR 1 AND w) ORDER BY id`',
    'sql`UPDATE t SET x = 1 WHERE id = ${id} AND (y IS NULL OR z > 1 AND 1) ORDER BY id`',
  ])
  expect(mutated('sql`${a} AND ${b}`')).toEqual(['sql`1 AND ${b}`', 'sql`${a} AND 1`'])
  expect(leftOut('sql`x BETWEEN 1 AND 2`')).toEqual([])
  expect(mutated('db.writeBatch({ a }, isDone)')).toEqual(['db.writeBatch({ a }, undefined)'])
  expect(mutated('record(r, event, isDone)')).toEqual(['record(r, event, sql`1`)'])
})

test('A condition that stands alone is left out', () => {
  expect(mutated('sql`UPDATE t SET x = 1 WHERE ${isDone} RETURNING id`')).toEqual([
    'sql`UPDATE t SET x = 1 WHERE 1 RETURNING id`',
  ])
  expect(mutated('sql`DELETE FROM t WHERE ${isDone}`')).toEqual(['sql`DELETE FROM t WHERE 1`'])
})

test('What an index covers is not left out', () => {
  expect(leftOut("t('x', (t) => [index('y').on(t.a).where(sql`a IS NULL AND b`)])")).toEqual([])
})

test('A condition with NOT is left out as a whole', () => {
  expect(
    mutated('sql`UPDATE t SET x = 1 WHERE a IS NOT NULL AND NOT b AND NOT EXISTS (SELECT 1 FROM u)`'),
  ).toEqual([
    'sql`UPDATE t SET x = 1 WHERE 1 AND NOT b AND NOT EXISTS (SELECT 1 FROM u)`',
    'sql`UPDATE t SET x = 1 WHERE a IS NOT NULL AND 1 AND NOT EXISTS (SELECT 1 FROM u)`',
    'sql`UPDATE t SET x = 1 WHERE a IS NOT NULL AND NOT b AND 1`',
  ])
})

const switched = (source: string) => withSwitches(source, findMutants('src/x.ts', source))

test('Whatever can be left out has a switch', () => {
  expect(switched('if (!a || b) throw no()')).toBe(
    '{ if (!leftOut__(0)) { if (matters__(0, (leftOut__(1) ? (b) : differs__(1, ' +
      '(leftOut__(2) ? (!a) : differs__(2, !a || b, () => (!a))), () => (b))), true)) throw no() } }',
  )
  expect(switched('f(a ? b : undefined)')).toBe(
    'f((leftOut__(0) ? b : matters__(0, a, false) ? b : undefined))',
  )
  expect(switched('await assertMayHash(r)')).toBe('{ if (!leftOut__(0)) { await assertMayHash(r) } }')
  expect(switched('f(and(a, ...b))')).toBe(
    'f(and((leftOut__(0) ? undefined : a), ...(leftOut__(1) ? [undefined] : b)))',
  )
  expect(switched('f(sql`x = 1 AND ${a && b}`)')).toBe(
    'f((leftOut__(0) ? sql`1 AND ${a && b}` : (leftOut__(1) ? sql`x = 1 AND 1` : ' +
      'sql`x = 1 AND ${a && b}`)))',
  )
  expect(switched('record(r, event, isDone)')).toBe('record(r, event, (leftOut__(0) ? sql__`1` : isDone))')
  expect(switched("r.get('/x', guard, handler)")).toBe("r.get('/x', guards__(0, guard), handler)")
})

describe('A test that is asked about several mutants', () => {
  /** What it leaves out in each attempt (`null`: nothing), if these are how they end. */
  function ask(names: string[], ...outcomes: ('passes' | 'fails')[]) {
    const asked = new Asked(names)
    const leftOut = outcomes.map((outcome) => {
      const { name } = asked
      asked.tell(outcome === 'passes')
      return name
    })
    return { leftOut, next: asked.name, verdicts: asked.verdicts }
  }

  test('has noticed one if it fails without it, passes with it, and fails without it again', () => {
    expect(ask(['a', 'b'], 'fails', 'passes', 'fails', 'passes')).toEqual({
      leftOut: ['a', null, 'a', 'b'],
      next: undefined,
      verdicts: { a: 'noticed', b: 'unnoticed' },
    })
  })

  test('is not sure of one if it fails only once', () => {
    expect(ask(['a', 'b'], 'fails', 'passes', 'passes')).toEqual({
      leftOut: ['a', null, 'a'],
      next: 'b',
      verdicts: { a: 'unsure' },
    })
  })

  test('says nothing more once it has failed with everything in place', () => {
    expect(ask(['a', 'b'], 'fails', 'fails')).toEqual({
      leftOut: ['a', null],
      next: undefined,
      verdicts: { a: 'unsure' },
    })
  })
})
