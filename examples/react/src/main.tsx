import { createClient } from '@roster/client'
import { RosterProvider, SignedIn, SignedOut } from '@roster/client/react'
import { createRoot } from 'react-dom/client'
import { Account } from './account.tsx'
import { SignIn } from './sign-in.tsx'
import './style.css'

/** The browser keeps the session in one of Roster's cookies: no token ever gets here. See docs/guides/react.md. */
const roster = createClient({ url: import.meta.env.VITE_ROSTER_URL ?? 'http://localhost:8787' })

createRoot(document.getElementById('app')!).render(
  <RosterProvider client={roster}>
    <header>
      <strong>Ledger</strong>
    </header>
    <main>
      <SignedIn>
        <Account />
      </SignedIn>
      <SignedOut>
        <SignIn />
      </SignedOut>
    </main>
  </RosterProvider>,
)
