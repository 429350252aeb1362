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

/** Gives the client to what is inside, and finds out who is signed in: again and again, while nobody can say. */
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
 * Its children, for somebody signed in; for nobody the fallback. Another user gets children of their own: what those of
 * the former held is gone.
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
