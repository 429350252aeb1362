'use client'

import {
  createContext,
  createElement,
  Fragment,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useSyncExternalStore,
} from 'react'
import type { RosterClient, User } from './main.ts'

const Client = createContext<RosterClient | undefined>(undefined)
const AGAIN_MS = 5000

/** Provides the client to its children, and looks up who is signed in, retrying until there is an answer. */
export function RosterProvider({
  client,
  children,
}: {
  client: RosterClient
  children?: ReactNode
}): ReactNode {
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>
    let isOver = false
    const load = () =>
      client.load().catch(() => {
        if (!isOver) timer = setTimeout(load, AGAIN_MS)
      })
    void load()
    return () => {
      isOver = true
      clearTimeout(timer)
    }
  }, [client])
  return createElement(Client.Provider, { value: client }, children)
}

export function useRoster(): RosterClient {
  const client = useContext(Client)
  if (!client) throw new Error('There is no <RosterProvider> around this.')
  return client
}

/** Who is signed in: null for nobody, undefined as long as that is not known (as on a server). */
export function useUser(): User | null | undefined {
  const client = useRoster()
  const subscribe = useCallback((changed: () => void) => client.on('user', changed), [client])
  return useSyncExternalStore(
    subscribe,
    () => client.user,
    () => undefined,
  )
}

/**
 * Shows its children to a signed-in user, and the fallback to anybody else. Another user gets new children:
 * state of the former user's is gone.
 */
export function SignedIn({
  children,
  fallback = null,
}: {
  children?: ReactNode
  fallback?: ReactNode
}): ReactNode {
  const user = useUser()
  if (user) return createElement(Fragment, { key: user.id }, children)
  return user === null ? fallback : null
}

/** Its children, for nobody. */
export function SignedOut({ children }: { children?: ReactNode }): ReactNode {
  return useUser() === null ? children : null
}
