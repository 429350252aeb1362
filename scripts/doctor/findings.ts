/** `note`: nothing is broken, but whoever runs this should know. */
export type Verdict = 'ok' | 'note' | 'wrong'

export interface Finding {
  about: string
  verdict: Verdict
  /** A sentence. If something is wrong, it says what to do about it. */
  says: string
}

export const ok = (about: string, says: string): Finding => ({ about, verdict: 'ok', says })
export const note = (about: string, says: string): Finding => ({ about, verdict: 'note', says })
export const wrong = (about: string, says: string): Finding => ({ about, verdict: 'wrong', says })

/** What a look at something found, or that it could not look. */
export async function look(about: string, at: () => Promise<Finding | Finding[]>): Promise<Finding[]> {
  try {
    return [await at()].flat()
  } catch (error) {
    const { message, cause } = error as Error
    return [
      wrong(about, `It could not be asked: ${message}${cause instanceof Error ? ` (${cause.message})` : ''}`),
    ]
  }
}
