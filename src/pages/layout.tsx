import { raw } from 'hono/html'
import type { Child, FC, PropsWithChildren } from 'hono/jsx'
import { hasPermission } from '../access/permissions.ts'
import type { Role } from '../users/models.ts'
import { LANGUAGES } from '../values/languages.ts'
import { Tile } from './components.tsx'
import type { View } from './view.ts'

type Layout<P = object> = FC<PropsWithChildren<{ view: View; title: string; isError?: boolean } & P>>

/**
 * The HTML document around every page. `title` is shown in the browser's tab, before the organisation's name.
 */
const Document: Layout<{ withoutScript?: boolean }> = ({ view, title, isError, withoutScript, children }) => (
  <>
    {raw('<!doctype html>')}
    <html lang={view.language}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>{`${isError ? `${view.texts.common.errorTitle}: ` : ''}${title} · ${view.organisation}`}</title>
        <link rel="icon" href="/icon.svg" type="image/svg+xml" />
        <link rel="stylesheet" href="/roster.css" />
        {view.brand && <link rel="stylesheet" href={view.brand.path} />}
        {!withoutScript && <script src="/roster.js" type="module" />}
      </head>
      <body>
        <a class="skip" href="#main">
          {view.texts.common.skip}
        </a>
        {children}
      </body>
    </html>
  </>
)

const Mark: FC<{ view: View; href: string }> = ({ view, href }) => (
  <a class="mark" href={href}>
    {view.logo ? (
      <img src={view.logo} alt={view.organisation} />
    ) : (
      <>
        <svg
          width="18"
          height="18"
          viewBox="0 0 18 18"
          fill="none"
          stroke-width="2"
          stroke-linecap="round"
          aria-hidden="true"
        >
          <path d="M2 4h14" />
          <path d="M2 9h14" />
          <path d="M2 14h8" />
        </svg>
        <span>{view.organisation}</span>
      </>
    )}
  </a>
)

/** One column: for signing in, and for pages with one thing to do. `below` is shown under the sheet. */
export const NarrowPage: Layout<{ below?: Child; withoutScript?: boolean }> = ({
  view,
  title,
  isError,
  below,
  withoutScript = false,
  children,
}) => (
  <Document view={view} title={title} isError={isError ?? false} withoutScript={withoutScript}>
    <div class="narrow">
      <main id="main">
        <Mark view={view} href="/" />
        <div class="sheet">{children}</div>
        {below && <div class="below">{below}</div>}
      </main>
      <Foot view={view} />
    </div>
  </Document>
)

const Foot: FC<{ view: View }> = ({ view }) => (
  <footer class="foot">
    {Object.entries(LANGUAGES).map(([code, name]) => (
      <a
        href={`?${new URLSearchParams({ ...Object.fromEntries(new URL(view.here, 'http://x').searchParams), lang: code })}`}
        lang={code}
        hreflang={code}
        {...(view.language === code && { 'aria-current': 'true' })}
      >
        {name}
      </a>
    ))}
    {view.terms?.url && <a href={view.terms.url}>{view.texts.common.terms}</a>}
    {view.terms?.privacyUrl && <a href={view.terms.privacyUrl}>{view.texts.common.privacy}</a>}
  </footer>
)

/** A page that continues by itself: see `goOnByPage` in forms.ts. */
export const GoingOnPage: FC<{ view: View; to: string }> = ({ view, to }) => {
  const { sent } = view.texts.apps
  return (
    <NarrowPage view={view} title={sent.title} withoutScript>
      <div class="stack">
        <h1>{sent.title}</h1>
        <p class="soft">{sent.lead}</p>
      </div>
      <a class="button primary wide" href={to}>
        {sent.button}
      </a>
    </NarrowPage>
  )
}

export interface Viewer {
  id: string
  name: string
  role: Role
  /** The sealed token for every form of this viewer. */
  formToken: string
  /** How many things need attention, by the page that lists them. */
  attention: { people: number; system: number }
}

const SignOut: FC<{ view: View; viewer: Viewer; style: string }> = ({ view, viewer, style }) => (
  <form method="post" action="/signout">
    <input type="hidden" name="form_token" value={viewer.formToken} />
    <button type="submit" class={style}>
      {view.texts.common.signOut}
    </button>
  </form>
)

const Nav: FC<{ view: View; label: string; places: Place[] }> = ({ view, label, places }) => (
  <nav class="nav" aria-label={label}>
    {places.map(({ href, name, count, said }) => (
      <a href={href} {...(isHere(view, href) && { 'aria-current': 'page' })}>
        {name}
        {count ? (
          <span class="count">
            {count > 9 ? '9+' : count}
            <span class="visually-hidden"> {said}</span>
          </span>
        ) : null}
      </a>
    ))}
  </nav>
)

interface Place {
  href: string
  name: string
  /** How many things need attention there, and the text for screen readers. */
  count?: number
  said?: string
}

const isHere = (view: View, href: string) =>
  view.path === href || (href !== '/admin' && href !== '/account' && view.path.startsWith(`${href}/`))

const Menu: FC<PropsWithChildren<{ view: View; label: string; places: Place[] }>> = ({
  view,
  label,
  places,
  children,
}) => (
  <details class="menu">
    <summary class="button">
      {places.find(({ href }) => isHere(view, href))?.name ?? view.texts.common.menu}
    </summary>
    <div class="panel">
      <Nav view={view} label={label} places={places} />
      {children}
    </div>
  </details>
)

/** The user's own pages. */
export const AccountPage: Layout<{ viewer: Viewer }> = ({ view, viewer, title, isError, children }) => {
  const { common, account } = view.texts
  const places: Place[] = [
    { href: '/account', name: account.nav.profile },
    { href: '/account/security', name: account.nav.security },
    { href: '/account/sessions', name: account.nav.sessions },
    { href: '/account/apps', name: account.nav.apps },
    { href: '/account/activity', name: account.nav.activity },
    { href: '/account/data', name: account.nav.data },
  ]
  const consoleLink = viewer.role !== 'user' && (
    <a class="button quiet" href="/admin">
      {common.console}
    </a>
  )
  return (
    <Document view={view} title={title} isError={isError ?? false}>
      <header class="bar">
        <Mark view={view} href="/account" />
        <div class="wide-bar">
          {consoleLink}
          <SignOut view={view} viewer={viewer} style="button quiet" />
        </div>
        <Menu view={view} label={common.account} places={places}>
          {consoleLink}
          <SignOut view={view} viewer={viewer} style="button quiet" />
        </Menu>
      </header>
      <div class="account">
        <Nav view={view} label={common.account} places={places} />
        <main id="main" class="content">
          {children}
        </main>
      </div>
    </Document>
  )
}

/** The administrators' pages. */
export const ConsolePage: Layout<{ viewer: Viewer }> = ({ view, viewer, title, isError, children }) => {
  const { common, console } = view.texts
  const { people, system } = viewer.attention
  const said = console.nav.waiting
  const places: Place[] = [
    { href: '/admin', name: console.nav.today },
    { href: '/admin/people', name: console.nav.people, count: people, said },
    { href: '/admin/invitations', name: console.nav.invitations },
    ...(hasPermission(viewer.role, 'signups:manage')
      ? [{ href: '/admin/blocked', name: view.texts.blocked.nav }]
      : []),
    ...(hasPermission(viewer.role, 'clients:manage')
      ? [{ href: '/admin/apps', name: console.nav.apps }]
      : []),
    ...(hasPermission(viewer.role, 'webhooks:manage')
      ? [{ href: '/admin/webhooks', name: view.texts.webhooks.title }]
      : []),
    { href: '/admin/activity', name: console.nav.activity },
    ...(viewer.role === 'admin'
      ? [{ href: '/admin/system', name: console.nav.system, count: system, said }]
      : []),
  ]
  return (
    <Document view={view} title={title} isError={isError ?? false}>
      <header class="bar small-bar">
        <Mark view={view} href="/admin" />
        <Menu view={view} label={common.console} places={places}>
          <a class="button quiet" href="/account">
            {common.account}
          </a>
          <SignOut view={view} viewer={viewer} style="button quiet" />
        </Menu>
      </header>
      <div class="console">
        <header class="rail">
          <Mark view={view} href="/admin" />
          <Nav view={view} label={common.console} places={places} />
          <div class="self">
            <a href="/account">
              <Tile name={viewer.name} isSelf />
              <span>
                <bdi>{viewer.name}</bdi>
              </span>
            </a>
            <SignOut view={view} viewer={viewer} style="link-button" />
          </div>
        </header>
        <div class="desk">
          <main id="main" class="content">
            {children}
          </main>
        </div>
      </div>
    </Document>
  )
}

/** A title, with what is shown beside it. */
export const Head: FC<PropsWithChildren<{ title: string; lead?: Child }>> = ({ title, lead, children }) => (
  <div class="head">
    <div>
      <h1>{title}</h1>
      {lead && <p>{lead}</p>}
    </div>
    {children && <div class="actions">{children}</div>}
  </div>
)

/** A section of settings: its title in the margin, its content beside it. */
export const Section: FC<PropsWithChildren<{ title: string; hint?: Child; id?: string }>> = ({
  title,
  hint,
  id,
  children,
}) => (
  <section class="section" {...(id && { id })}>
    <header>
      <h2>{title}</h2>
      {hint && <p>{hint}</p>}
    </header>
    <div>{children}</div>
  </section>
)
