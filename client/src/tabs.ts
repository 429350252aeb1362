import type { Word } from './protocol.ts'

/** The other tabs of this origin. */
export interface Tabs {
  say(word: Word): void
  /** Gives others time to answer: what they say is heard in any case, later too. */
  listen(): Promise<void>
  /** Alone among the tabs; but no longer than five seconds for the sake of one that sleeps. */
  alone(run: () => Promise<void>): Promise<void>
  close(): void
}

/** A tab that sleeps with the lock is not waited for: what it was about to do can be done twice. */
const LOCK_WAIT_MS = 5000
const ANSWER_MS = 100

const nobody: Tabs = { say() {}, listen: async () => {}, alone: (run) => run(), close() {} }

/** @param name of the Roster that these tabs are signed in at. */
export function openTabs(isOn: boolean, name: string, hear: (word: Word) => void): Tabs {
  if (!isOn || typeof BroadcastChannel === 'undefined') return nobody
  const channel = new BroadcastChannel(name)
  channel.onmessage = ({ data }) => {
    try {
      hear(data)
    } catch {
      // No word of ours, or of another version.
    }
  }
  let isOpen = true
  return {
    // What a client has begun before it was closed goes on to its end.
    say(word) {
      if (isOpen) channel.postMessage(word)
    },
    listen: () => new Promise((resolve) => setTimeout(resolve, ANSWER_MS)),
    async alone(run) {
      const waiting = new AbortController()
      const timer = setTimeout(() => waiting.abort(), LOCK_WAIT_MS)
      let hasBegun = false
      const begin = () => {
        hasBegun = true
        clearTimeout(timer)
        return run()
      }
      try {
        await navigator.locks.request(name, { signal: waiting.signal }, begin)
      } catch (error) {
        if (hasBegun) throw error
        // Nobody gave it up, or there are no locks here.
        await begin()
      }
    },
    close() {
      isOpen = false
      channel.close()
    },
  }
}
