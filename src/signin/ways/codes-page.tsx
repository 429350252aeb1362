import type { FC } from 'hono/jsx'
import { RecoveryCodes } from '../../pages/factors.tsx'
import { NarrowPage } from '../../pages/layout.tsx'
import type { View } from '../../pages/view.ts'

/** Whoever came with an authenticator app has signed in by it for the first time, and has no recovery codes yet. */
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

/** The page of the codes was loaded anew: they are not shown again, and signing in has been done. */
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
