import { html } from 'hono/html'
import type { AppEnv } from '../context.ts'
import { Hono } from '../http/hono.ts'
import { operation } from '../http/operation.ts'
import { page } from '../http/page.ts'

const BODY = html`
<header>
  <a class="brand" href="#top">Roster <small>API</small></a>
  <a href="/openapi.json">openapi.json</a>
  <output id="notice"></output>
  <form id="login">
    <input name="email" type="text" inputmode="email" autocomplete="username" placeholder="E-mail" aria-label="E-mail" required>
    <input name="password" type="password" autocomplete="current-password" placeholder="Password" aria-label="Password" required>
    <button type="submit">Log in</button>
  </form>
  <form id="factor" hidden>
    <input name="code" type="text" autocomplete="one-time-code" placeholder="Code" aria-label="Code of the app, or a recovery code" required>
    <button type="submit">Continue</button>
    <a href="/signin?to=/docs">With a passkey</a>
  </form>
  <div id="who" hidden><span id="person"></span><button type="button" id="logout">Log out</button></div>
</header>
<div class="columns" id="top">
  <nav aria-label="Operations">
    <input id="filter" type="search" placeholder="Filter &#8195;/" aria-label="Filter operations" aria-keyshortcuts="/">
  </nav>
  <main><p>Reading the document&hellip;</p></main>
</div>
<noscript>This page is drawn by its script. What it draws is at <a href="/openapi.json">/openapi.json</a>.</noscript>`

/** The page itself knows nothing of the API: its script draws what /openapi.json says. */
export const docsRoutes = new Hono<AppEnv>().get(
  '/docs',
  operation({
    id: 'showDocumentation',
    tag: 'system',
    summary: 'This document, as a page to read and to try',
    description: 'Made from /openapi.json.',
    responses: { 200: 'html' },
  }),
  (c) =>
    page(
      c,
      { title: 'Roster API', stylesheet: '/explorer.css', script: '/explorer.js', body: BODY },
      { 'style-src': "'self'", 'script-src': "'self'", 'connect-src': "'self'" },
    ),
)
