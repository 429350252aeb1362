import { once } from 'node:events'
import { createInterface } from 'node:readline'

export interface Question {
  name: string
  asks: string
  /** What is wrong with an answer; undefined if it is good. */
  faultOf: (answer: string) => string | undefined
}

/** Asks in the terminal, or reads piped input, one line per answer. Asks again if an answer does not fit. */
export function openQuestions() {
  const lines: string[] = []
  let isOver = false
  const input = createInterface({ input: process.stdin })
  input.on('line', (line) => lines.push(line))
  input.on('close', () => {
    isOver = true
  })

  async function nextLine(): Promise<string | undefined> {
    while (lines.length === 0 && !isOver) await Promise.race([once(input, 'line'), once(input, 'close')])
    return lines.shift()
  }

  return {
    async ask({ name, asks, faultOf }: Question): Promise<string> {
      for (;;) {
        process.stdout.write(`\n${asks}\n${name}: `)
        const line = await nextLine()
        if (line === undefined)
          throw new Error(`\n${name} is missing: answer it, or put it into the environment.`)
        const answer = line.trim()
        const fault = faultOf(answer)
        if (fault === undefined) return answer
        console.log(`\nThat ${fault}.`)
      }
    },
    close: () => input.close(),
  }
}

export type Questions = ReturnType<typeof openQuestions>
