import type { FC } from 'hono/jsx'
import { RecoveryCodes } from '../../pages/factors.tsx'
import { NarrowPage } from '../../pages/layout.tsx'
import type { View } from '../../pages/view.ts'

/**
 * For an imported user who has signed in with their authenticator app for the first time, and has no recovery
 * codes yet.
 */
export const FirstCodesPage: FC<{
  view: View
  codes: readonly string[]
  email: string
  token: string
  href: string
}> = ({ view, ...codes }) => {
  const { yours, firstCodes } = view.texts.factors
  return (
    <NarrowPage view={view} title={yours}>
      <h1>{yours}</h1>
      <p>{firstCodes}</p>
      <RecoveryCodes view={view} {...codes} />
    </NarrowPage>
  )
}

/** The page of codes was reloaded: they are not shown again, and the user is signed in. */
export const ShownCodesPage: FC<{ view: View; href: string }> = ({ view, href }) => {
  const { common, factors } = view.texts
  return (
    <NarrowPage view={view} title={factors.shown}>
      <h1>{factors.shown}</h1>
      <p>{factors.shownOnce}</p>
      <div class="actions">
        <a class="button primary" href={href}>
          {common.goOn}
        </a>
        <a class="button" href="/account/security#codes">
          {factors.renew}
        </a>
      </div>
    </NarrowPage>
  )
}
