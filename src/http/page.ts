import type { Context } from 'hono'
import { html, raw } from 'hono/html'
import type { ContentfulStatusCode } from 'hono/utils/http-status'

export interface Page {
  title: string
  /** Made by `html` of hono/html, which escapes all values. */
  body: ReturnType<typeof html> | ReturnType<typeof raw>
  /** Our own text, never a caller's: it is inserted unescaped. */
  style?: string
  /** Where files of `public/` are served. A page that uses them has to allow them. */
  stylesheet?: string
  script?: string
  /** By default 200. */
  status?: ContentfulStatusCode
  headers?: Record<string, string>
}

/** Allows nothing but the page's own style, by nonce; and no script can turn text into markup. */
const POLICY = {
  'default-src': "'none'",
  // For the icon, an empty one: without it, browsers ask for /favicon.ico.
  'img-src': 'data:',
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
  'require-trusted-types-for': "'script'",
  'trusted-types': "'none'",
}

/**
 * Answers with a page. `allows` has the further directives of its Content-Security-Policy, such as `{
 * 'connect-src': "'self'" }`.
 */
export async function page(c: Context, content: Page, allows: object = {}) {
  const { title, body, style, stylesheet, script, status = 200, headers = {} } = content
  const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64')
  const policy = { ...POLICY, 'style-src': `'nonce-${nonce}'`, ...allows }
  const text = await html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="data:,">
${stylesheet && html`<link rel="stylesheet" href="${stylesheet}">`}
${style && html`<style nonce="${nonce}">${raw(style)}</style>`}
</head>
<body>
${body}
${script && html`<script src="${script}" type="module"></script>`}
</body>
</html>
`
  return c.html(text, status, {
    ...headers,
    'content-security-policy': Object.entries(policy)
      .map((directive) => directive.join(' '))
      .join('; '),
    'cross-origin-opener-policy': 'same-origin',
  })
}
