import type { TestSpecification } from 'vitest/node'
import type { Verdict } from '../../test/support/asked.ts'
import type { Reached } from '../../test/support/left-out.ts'
import { isTellable, toLine } from './mutants.ts'
import { type Named, nameOf, type Question, type Tests } from './tests.ts'

/** What replaces a condition of a statement: one that is prepared is evaluated once, and used by all tests of a file. */
const IN_STATEMENTS = ['1', 'sql`1`', 'undefined']

/** How `names` calls it where leaving it out may change something. */
const nameIn = (mutant: Named) => (isTellable(mutant) ? `${mutant.name}!` : mutant.name)

/** The tests of a file that could notice a mutant: none, if it is evaluated once and kept. */
function idsOf({ names, tests }: Reached, mutant: Named): string[] {
  const { replacement } = mutant
  const place = names.indexOf(nameIn(mutant))
  const ids = Object.keys(tests).filter((id) => tests[id]!.includes(place))
  return ids.length === 1 && IN_STATEMENTS.includes(replacement) ? [] : ids
}

/** How many tests are asked about each mutant that nobody has noticed, from round to round. */
const ROUNDS = [3, 6, 12, 24, 48, 96, Number.POSITIVE_INFINITY]
/** How many test files are asked about what is evaluated once and kept, and about what tests were not sure of. */
const FILES_ALONE = 8
/** How long a run of Vitest should be busy with one test, in seconds. */
const BUSY_SECONDS = 20

type Reach = Map<TestSpecification, Reached>

/** The share of what a test reaches that is in a file of the source, by the id of the test. */
function sharesOf(reach: Reach): Map<string, Map<string, number>> {
  const shares = new Map<string, Map<string, number>>()
  for (const { names, tests } of reach.values())
    for (const [id, places] of Object.entries(tests)) {
      const files = places.map((place) => names[place]!.split(' ')[0]!)
      const byFile = [...Map.groupBy(files, (file) => file)]
      shares.set(id, new Map(byFile.map(([file, its]) => [file, its.length / places.length])))
    }
  return shares
}

/**
 * Finds out which mutants some test notices. Those that know most of a file are asked first, and those that have noticed
 * something there.
 *
 * @param atMost how many tests are asked about each.
 */
export async function findNoticers(
  tests: Tests,
  reach: Reach,
  mutants: Named[],
  atMost: number,
): Promise<Set<Named>> {
  const noticed = new Set<Named>()
  const shares = sharesOf(reach)
  /** By test: for how many mutants of each file it was not in vain. */
  const worth = new Map<string, Map<string, number>>()
  const unsure: Question[] = []
  const unfit = new Set<string>()
  const open = new Map(
    mutants.map((mutant) => [
      mutant,
      [...reach].flatMap(([test, reached]) => idsOf(reached, mutant).map((id) => ({ mutant, test, id }))),
    ]),
  )
  const asked = new Map(mutants.map((mutant) => [mutant, 0]))
  const secondsOf = ({ test, id }: Question) => reach.get(test)!.seconds?.[id] ?? 0.5

  /** @param waiting for how many seconds each test will be busy. */
  function take(mutant: Named, count: number, waiting: Map<string, number>): Question[] {
    const scoreOf = (question: Question) =>
      ((shares.get(question.id)?.get(mutant.file) ?? 0) *
        (1 + (worth.get(question.id)?.get(mutant.file) ?? 0))) /
      (BUSY_SECONDS + secondsOf(question) + (waiting.get(question.id) ?? 0))
    const ranked = open
      .get(mutant)!
      .filter(({ id }) => !unfit.has(id))
      .map((question) => ({ question, score: scoreOf(question) }))
      .sort((a, b) => b.score - a.score)
      .map(({ question }) => question)
    const before = asked.get(mutant)!
    const taken = ranked.splice(0, Math.min(count, atMost - before))
    open.set(mutant, ranked)
    asked.set(mutant, before + taken.length)
    for (const question of taken)
      waiting.set(question.id, (waiting.get(question.id) ?? 0) + 2 * secondsOf(question))
    return taken
  }
  function tellNoticed(mutant: Named, test: TestSpecification): void {
    if (!noticed.has(mutant)) console.log(`noticed by ${nameOf(test)}  ${toLine(mutant)}`)
    noticed.add(mutant)
  }
  function tell(question: Question, verdict: Verdict): void {
    const { mutant, test, id } = question
    if (verdict === 'unsure') {
      unfit.add(id)
      unsure.push(question)
    }
    if (verdict !== 'noticed') return
    const its = worth.get(id) ?? new Map<string, number>()
    worth.set(id, its.set(mutant.file, (its.get(mutant.file) ?? 0) + 1))
    tellNoticed(mutant, test)
  }
  /** What is left: one mutant at a time, from the beginning of a test file to its end. */
  async function askAlone(mutant: Named): Promise<void> {
    const alone = new Map<TestSpecification, string[]>()
    for (const { mutant: its, test, id } of unsure)
      if (its === mutant) alone.set(test, [...(alone.get(test) ?? []), id])
    for (const [test, reached] of reach)
      if (reached.names.includes(nameIn(mutant)) && idsOf(reached, mutant).length === 0)
        alone.set(test, Object.keys(reached.tests))
    const shareOf = ([test]: [TestSpecification, string[]]) =>
      reach.get(test)!.names.filter((name) => name.startsWith(`${mutant.file} `)).length
    const files = [...alone].sort((a, b) => shareOf(b) - shareOf(a)).slice(0, FILES_ALONE)
    for (const [test, ids] of files)
      if (!noticed.has(mutant) && (await tests.notices(test, ids, mutant))) tellNoticed(mutant, test)
    if (noticed.has(mutant)) return
    const count = asked.get(mutant)!
    const all = count + open.get(mutant)!.length
    console.log(
      `SURVIVED ${count} of ${all} tests, ${files.length} of ${alone.size} files  ${toLine(mutant)}`,
    )
  }

  for (const count of ROUNDS) {
    const waiting = new Map<string, number>()
    const left = mutants.filter((mutant) => !noticed.has(mutant))
    const questions = left.flatMap((mutant) => take(mutant, count, waiting))
    if (questions.length === 0) break
    console.log(`${new Date().toISOString()} ${questions.length} questions about ${left.length} mutants`)
    await tests.ask(questions, tell)
  }
  for (const mutant of mutants) if (!noticed.has(mutant)) await askAlone(mutant)
  return noticed
}
