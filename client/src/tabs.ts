import type { Word } from './protocol.ts'

/** The other tabs of this origin. */
export interface Tabs {
  say(word: Word): void
  /** Gives other tabs time to answer. Later answers are heard, too. */
  listen(): Promise<void>
  /** Runs alone among the tabs; but waits at most five seconds, in case another tab sleeps. */
  alone(run: () => Promise<void>): Promise<void>
  close(): void
}

/** A tab that sleeps with the lock is not waited for: its work can safely be done twice. */
const LOCK_WAIT_MS = 5000
const ANSWER_MS = 100

const nobody: Tabs = { say() {}, listen: async () => {}, alone: (run) => run(), close() {} }

/** @param name identifies the Roster that these tabs are signed in to. */
export function openTabs(isOn: boolean, name: string, hear: (word: Word) => void): Tabs {
  if (!isOn || typeof BroadcastChannel === 'undefined') return nobody
  const channel = new BroadcastChannel(name)
  channel.onmessage = ({ data }) => {
    try {
      hear(data)
    } catch {
      // A message that is not ours, or of another version.
    }
  }
  let isOpen = true
  return {
    // Work that a client began before it was closed is finished.
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
        // The lock was not released, or this browser has no locks.
        await begin()
      }
    },
    close() {
      isOpen = false
      channel.close()
    },
  }
}
