/** A step that is possible in a state: the state it leads to, and what is wrong there, if anything. */
export interface Step<State> {
  name: string
  state: State
  fault?: string | undefined
}

/** Explores every order of events from a state on. Breadth first, so the first fault found has the shortest path. */
export function searchAll<State>(
  start: State,
  next: (state: State) => readonly Step<State>[],
): { states: number; fault?: string[] } {
  const seen = new Set([JSON.stringify(start)])
  const queue: { state: State; path: string[] }[] = [{ state: start, path: [] }]
  for (const { state, path } of queue) {
    for (const step of next(state)) {
      const way = [...path, step.name]
      if (step.fault) return { states: seen.size, fault: [...way, step.fault] }
      const key = JSON.stringify(step.state)
      if (seen.has(key)) continue
      seen.add(key)
      queue.push({ state: step.state, path: way })
    }
  }
  return { states: seen.size }
}
