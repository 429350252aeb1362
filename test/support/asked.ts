/**
 * `noticed`: the test failed without it, passed with it, and failed without it again. `unsure`: it failed with it too,
 * or once only.
 */
export type Verdict = 'noticed' | 'unnoticed' | 'unsure'

/** What a test leaves out as it is repeated. */
export class Asked {
  readonly verdicts: Record<string, Verdict> = {}
  private readonly names: string[]
  private at = 0
  private attempt: 'first' | 'control' | 'second' = 'first'
  constructor(names: string[]) {
    this.names = names
  }
  /** What to leave out in the next attempt, `null` for nothing, or `undefined` after the last. */
  get name(): string | null | undefined {
    return this.attempt === 'control' ? null : this.names[this.at]
  }
  tell(hasPassed: boolean): void {
    const name = this.names[this.at]!
    if (this.attempt === 'first' && !hasPassed) this.attempt = 'control'
    else if (this.attempt === 'control' && hasPassed) this.attempt = 'second'
    else {
      const isControl = this.attempt === 'control'
      const isFirst = this.attempt === 'first'
      this.verdicts[name] = isFirst ? 'unnoticed' : isControl || hasPassed ? 'unsure' : 'noticed'
      this.attempt = 'first'
      // What fails with everything in place can notice nothing more.
      this.at = isControl ? this.names.length : this.at + 1
    }
  }
}
