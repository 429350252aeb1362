// @ts-check

/** @import { Answer, Api, Operation, Schema, Signed } from '../src/docs/api.d.ts' */

// The script of /docs: draws /openapi.json and calls what it describes.
// Text gets onto the page as text nodes only, whoever wrote it.

const HEADERS_OF_INTEREST =
  'location etag retry-after allow www-authenticate clear-site-data cache-control server-timing x-request-id'

/** @returns {any} */
const byId = (id) => document.getElementById(id)

/**
 * Makes an element: `h('p.note', { hidden: true }, 'text', child)`.
 * @returns {any}
 */
function h(tag, properties = {}, ...children) {
  const [name = '', ...classes] = tag.split('.')
  const element = Object.assign(document.createElement(name), properties)
  element.classList.add(...classes)
  element.append(...children.filter((child) => child !== undefined && child !== false))
  return element
}

/** Text in which what stands in backticks is code. */
const prose = (text) =>
  h('span', {}, ...text.split('`').map((part, index) => (index % 2 ? h('code', {}, part) : part)))

// ---- The session: a cookie that no script can read. This knows only whose it is.

/** @type {Signed | undefined} */
let session

function setSession(signed, notice = '') {
  session = signed
  byId('login').hidden = session !== undefined
  byId('factor').hidden = true
  byId('who').hidden = session === undefined
  byId('notice').textContent = notice
  if (session) byId('person').textContent = `${session.user.email} · ${session.user.role}`
  document.dispatchEvent(new Event('session'))
}

const post = (path, body) =>
  fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  })

/** Whoever has signed in, here or on the pages. */
async function lookWhoIsThere() {
  const answer = await fetch('/v1/users/me', { headers: { 'cache-control': 'no-cache' } })
  if (answer.ok) setSession({ user: await answer.json() })
  else if (answer.status === 401)
    setSession(undefined, session ? 'Your session has ended. Log in again.' : '')
}

/** What a right password of somebody with a second factor was answered with. */
let challenge

/** Sends a form that signs in, or says what it needs before it does. */
async function signIn(event, path, bodyOf) {
  event.preventDefault()
  const form = event.target
  byId('notice').textContent = 'Logging in…'
  try {
    const answer = await post(path, { ...bodyOf(Object.fromEntries(new FormData(form))), cookie: true })
    const body = await answer.json()
    // The form that comes next, where they are not in yet.
    const next = { second_factor_required: 'factor', challenge_spent: 'login' }[body.code]
    // What was typed stays where it was wrong.
    if (!answer.ok && !next) throw new Error(body.detail)
    form.reset()
    if (!next) return setSession(body)
    challenge = body.challenge
    byId('login').hidden = next !== 'login'
    byId('factor').hidden = next !== 'factor'
    byId('notice').textContent = next === 'factor' ? 'Enter your code.' : body.detail
    byId(next).elements[0].focus()
  } catch (error) {
    byId('notice').textContent = error.message
  }
}

byId('login').onsubmit = (event) =>
  signIn(event, '/v1/auth/login', ({ email, password }) => ({ email, password }))

byId('factor').onsubmit = (event) =>
  signIn(event, '/v1/auth/login/second_factor', ({ code }) => {
    const typed = code.replace(/\s/g, '')
    return { challenge, ...(/^\d{6}$/.test(typed) ? { code: typed } : { recovery_code: typed }) }
  })

byId('logout').onclick = async () => {
  await post('/v1/auth/logout').catch(() => {})
  setSession(undefined, 'Logged out.')
}

// ---- Schemas.

/** @type {Api} */
let api

/** @type {(schema: Schema) => Schema} */
const resolve = (schema) =>
  schema.$ref ? (api.components.schemas[schema.$ref.split('/').at(-1) ?? ''] ?? {}) : schema

/** @type {(schema: Schema) => string} */
function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split('/').at(-1) ?? ''
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' | ')
  if (schema.enum) return schema.enum.join(' | ')
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.items) return `array of ${typeOf(schema.items)}`
  return [[schema.type ?? 'any'].flat().join(' | '), schema.format].filter(Boolean).join(' · ')
}

const range = (from, to, unit) => {
  if (from === undefined && to === undefined) return undefined
  if (from === undefined) return `at most ${to}${unit}`
  return to === undefined ? `at least ${from}${unit}` : `${from} to ${to}${unit}`
}

const constraintsOf = (schema) =>
  [
    range(schema.minLength, schema.maxLength, ' characters'),
    range(schema.minimum, schema.maximum, ''),
    schema.default !== undefined && `default ${schema.default}`,
  ].filter(Boolean)

/**
 * The object inside a schema, if any: itself, what it is a list of, or what it is when it is not null.
 * @type {(schema: Schema) => Schema | undefined}
 */
function objectIn(schema) {
  const { properties, items, anyOf } = resolve(schema)
  if (properties) return resolve(schema)
  if (items) return objectIn(items)
  return anyOf?.map(objectIn).find(Boolean)
}

function field(name, isRequired, schema, description = resolve(schema).description) {
  const head = [
    h('code.name', {}, name),
    isRequired ? h('span.required', { title: 'required' }, 'required') : '',
    h('span.type', {}, [typeOf(schema), ...constraintsOf(resolve(schema))].join(', ')),
  ]
  const about = description && h('p', {}, prose(description))
  const inner = objectIn(schema)
  if (!inner) return h('li', {}, ...head, about || '')
  return h('li', {}, h('details', {}, h('summary', {}, ...head), about || '', fields(inner)))
}

const fields = ({ properties = {}, required = [] }) =>
  h(
    'ul.fields',
    {},
    ...Object.entries(properties).map(([name, schema]) => field(name, required.includes(name), schema)),
  )

/** @type {(schema: Schema) => unknown} */
function exampleOf(given) {
  const schema = resolve(given)
  const { properties, required = [], items } = schema
  const known = schema.example ?? schema.default ?? schema.const ?? schema.enum?.[0]
  if (known !== undefined) return known
  if (!properties) return items ? [exampleOf(items)] : schema.type === 'string' ? '' : null
  const worthShowing = Object.entries(properties).filter(
    ([name, value]) => required.includes(name) || resolve(value).example !== undefined,
  )
  return Object.fromEntries(worthShowing.map(([name, value]) => [name, exampleOf(value)]))
}

// ---- An operation: what it says, and a form to try it.

/** @type {(status: string, answer: Answer) => HTMLElement} */
function answerView(status, { description, headers = {}, content = {} }) {
  const [[type = '', { schema = undefined, examples = {} } = {}] = []] = Object.entries(content)
  const isProblem = type.startsWith('application/problem')
  const codes = Object.entries(examples).map(([code, { value }]) =>
    h('li', {}, h('code.name', {}, code), h('p', {}, value.detail)),
  )
  const inner = !isProblem && schema && objectIn(schema)
  return h(
    'details.answer',
    { open: status < '300' },
    h(
      'summary',
      {},
      h(`b.status.s${status[0]}`, {}, status),
      isProblem
        ? h('span', {}, ...Object.keys(examples).flatMap((code) => [h('code', {}, code), ' ']))
        : prose(description),
      !isProblem && schema ? h('span.type', {}, schema.$ref || schema.items ? typeOf(schema) : type) : '',
    ),
    isProblem && h('ul.fields', {}, ...codes),
    inner && fields(inner),
    h(
      'ul.fields',
      {},
      ...Object.entries(headers)
        // Those of every answer say nothing of this one.
        .filter(([, header]) => header.description)
        .map(([name, header]) =>
          h(
            'li',
            {},
            h('code.name', {}, name),
            h('span.type', {}, 'header'),
            h('p', {}, header.description ?? ''),
          ),
        ),
    ),
  )
}

/** Pretty JSON, coloured; anything else as it is. */
function codeView(text) {
  let pretty
  try {
    pretty = JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return h('pre', { tabIndex: 0 }, text)
  }
  const tokens = pretty.split(
    /("(?:[^"\\]|\\.)*"(?=:)|"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b|-?\d[\d.e+-]*)/,
  )
  return h(
    'pre',
    { tabIndex: 0 },
    ...tokens.map((token, index) => {
      if (index % 2 === 0) return token
      const isName = token.startsWith('"') && tokens[index + 1]?.startsWith(':')
      return h(isName ? 'span.key' : token.startsWith('"') ? 'span.text' : 'span.value', {}, token)
    }),
  )
}

const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`

/** What is typed as a body, for a line of a script; as it is while it is no JSON yet. */
function bodyOf(text) {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return text
  }
}

/** A request in some language, with a button that copies it. */
function sampleView(language, textOf) {
  const text = h('pre', { tabIndex: 0, ariaLabel: `As ${language}` })
  const copy = h('button.quiet', { type: 'button' }, 'Copy')
  copy.onclick = async () => {
    const said = await navigator.clipboard.writeText(textOf()).then(
      () => 'Copied',
      () => 'The browser does not allow it',
    )
    copy.textContent = said
    setTimeout(() => copy.replaceChildren('Copy'), 2000)
  }
  const refresh = () => {
    text.textContent = textOf()
  }
  return { parts: [h('div.row', {}, h('span', {}, language), copy), text], refresh }
}

/** @param {string} method @param {string} path @param {Operation} operation */
function tryView(method, path, { parameters = [], requestBody, security, ...operation }) {
  const signs = security.length > 0
  const media = requestBody?.content['application/json']
  const inputs = parameters.map((parameter) => {
    const schema = resolve(parameter.schema)
    const options = schema.enum ?? (schema.type === 'boolean' ? [true, false] : undefined)
    const properties = {
      required: parameter.required ?? false,
      autocomplete: 'off',
      spellcheck: false,
      placeholder: String(schema.example ?? schema.default ?? ''),
    }
    const input = options
      ? h(
          'select',
          {},
          h('option', { value: '' }, schema.default === undefined ? '' : `${schema.default}, the default`),
          ...options.map((value) => h('option', { value }, String(value))),
        )
      : h('input', properties)
    return { parameter, input }
  })
  const editor = media?.schema && h('textarea', { spellcheck: false })
  if (editor) {
    editor.value = JSON.stringify(exampleOf(media.schema ?? {}), null, 2)
    editor.rows = editor.value.split('\n').length + 1
  }

  const request = () => {
    const query = new URLSearchParams()
    let url = path
    const headers = editor ? { 'content-type': 'application/json' } : {}
    for (const { parameter, input } of inputs) {
      if (parameter.in === 'path')
        url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value) || '$&')
      else if (input.value === '') continue
      else if (parameter.in === 'query') query.set(parameter.name, input.value)
      else headers[parameter.name.toLowerCase()] = input.value
    }
    return { url: query.size ? `${url}?${query}` : url, headers, ...(editor && { body: editor.value }) }
  }

  const curlSample = () => {
    const { url, headers, body } = request()
    const lines = [
      `curl -i ${method === 'GET' ? '' : `-X ${method} `}${quote(location.origin + url)}`,
      ...(signs ? ['-H "authorization: Bearer $TOKEN"'] : []),
      ...Object.entries(headers).map((header) => `-H ${quote(header.join(': '))}`),
      ...(body === undefined ? [] : [`--data-raw ${quote(body)}`]),
    ]
    return lines.join(' \\\n  ')
  }
  const fetchSample = () => {
    const { url, headers, body } = request()
    const all = Object.entries(headers).map(([name, value]) => `'${name}': ${JSON.stringify(value)}`)
    if (signs) all.unshift(`authorization: 'Bearer ' + token`)
    const options = [
      ...(method === 'GET' ? [] : [`method: '${method}'`]),
      ...(all.length > 0 ? [`headers: { ${all.join(', ')} }`] : []),
      ...(body === undefined ? [] : [`body: ${JSON.stringify(body)}`]),
    ]
    const given = options.length > 0 ? `, {\n  ${options.join(',\n  ')},\n}` : ''
    return `const answer = await fetch(${JSON.stringify(location.origin + url)}${given})`
  }
  /** In `@roster/client`, whose calls have the paths and names of the document. */
  const clientSample = () => {
    const literalOf = ({ parameter: { schema }, input: { value } }) =>
      /^(integer|number|boolean)$/.test(String(resolve(schema).type)) ? value : JSON.stringify(value)
    const groups = ['path', 'query', 'header'].flatMap((place) => {
      const given = inputs.filter(({ parameter, input }) => parameter.in === place && input.value !== '')
      const all = given.map((each) => `${JSON.stringify(each.parameter.name)}: ${literalOf(each)}`)
      return all.length > 0 ? [`${place}: { ${all.join(', ')} }`] : []
    })
    const options = [
      ...(groups.length > 0 ? [`params: { ${groups.join(', ')} }`] : []),
      ...(editor ? [`body: ${bodyOf(editor.value)}`] : []),
    ]
    const given = options.length > 0 ? `, {\n  ${options.join(',\n  ')},\n}` : ''
    return `const { data, error } = await roster.api.${method}(${JSON.stringify(path)}${given})`
  }
  const samples = [
    sampleView('curl', curlSample),
    sampleView('fetch', fetchSample),
    sampleView('@roster/client', clientSample),
  ]

  const hint = h('p.hint')
  const refreshView = () => {
    for (const { refresh } of samples) refresh()
    const roles = operation['x-roles']
    const lacks = session && roles && !roles.includes(session.user.role)
    hint.hidden = !signs || (session !== undefined && !lacks)
    hint.textContent = lacks
      ? `Your role, ${session?.user.role}, does not allow this.`
      : 'Log in above to call this.'
  }
  document.addEventListener('session', refreshView)

  const button = h(method === 'DELETE' ? 'button.delete' : 'button', {}, `Send ${method}`)

  const output = h('output.result')
  const form = h(
    'form.try',
    { ariaLabel: `Try ${method} ${path}` },
    ...inputs.map(({ parameter, input }) =>
      h(
        'label',
        {},
        h(
          'span',
          {},
          h('code', {}, parameter.name),
          ' ',
          parameter.in !== 'query' && h('small', {}, parameter.in),
        ),
        input,
      ),
    ),
    editor ? h('label.body', {}, h('span', {}, 'Body ', h('small', {}, 'application/json')), editor) : '',
    h('div.row', {}, button, hint),
    output,
    ...samples.flatMap(({ parts }) => parts),
  )
  form.oninput = refreshView
  form.onkeydown = (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
  }
  form.onsubmit = async (event) => {
    event.preventDefault()
    button.disabled = true
    const startMs = performance.now()
    try {
      const { url, ...init } = request()
      const answer = await fetch(url, { method, ...init })
      const text = await answer.text()
      const tookMs = Math.round(performance.now() - startMs)
      const headers = HEADERS_OF_INTEREST.split(' ').filter((name) => answer.headers.has(name))
      output.replaceChildren(
        h(
          'div.row',
          {},
          h(`b.status.s${String(answer.status)[0]}`, {}, String(answer.status)),
          answer.statusText,
          h('small', {}, `${tookMs} ms`),
        ),
        h(
          'dl',
          {},
          ...headers.flatMap((name) => [h('dt', {}, name), h('dd', {}, answer.headers.get(name) ?? '')]),
        ),
        text && codeView(text),
      )
      // What was sent by hand may have changed who is signed in.
      if (/^\/v1\/(auth|users\/me)/.test(url) && method !== 'GET') await lookWhoIsThere()
    } catch (error) {
      output.replaceChildren(h('p.hint', {}, `No answer: ${error.message}`))
    }
    button.disabled = false
  }
  refreshView()
  return form
}

/** @param {string} method @param {string} path @param {Operation} operation */
function operationView(method, path, operation) {
  const permission = operation['x-permission']
  const who = permission ?? (operation.security.length > 0 ? 'signed in' : undefined)
  const view = h(
    'details.operation',
    { id: operation.operationId },
    h(
      'summary',
      {},
      h(`b.method.${method.toLowerCase()}`, {}, method),
      h('code', {}, path),
      h('span', {}, operation.summary),
      who && h('small.who', {}, who),
    ),
  )

  const draw = () => {
    const parameters = operation.parameters ?? []
    const body = Object.entries(operation.requestBody?.content ?? {})
    return h(
      'div.columns',
      {},
      h(
        'div',
        {},
        operation.description && h('p', {}, prose(operation.description)),
        parameters.length > 0 && h('h4', {}, 'Parameters'),
        h(
          'ul.fields',
          {},
          ...parameters.map(({ name, required = false, schema, description }) =>
            field(name, required, schema, description),
          ),
        ),
        ...body.flatMap(([type, { schema }], index) => {
          const inner = fields(resolve(schema ?? {}))
          if (index === 0) return [h('h4', {}, 'Body ', h('small', {}, type)), inner]
          return [h('details', {}, h('summary', {}, 'or as ', h('code', {}, type)), inner)]
        }),
        h('h4', {}, 'Answers'),
        ...Object.entries(operation.responses).map(([status, answer]) => answerView(status, answer)),
      ),
      tryView(method, path, operation),
    )
  }
  view.ontoggle = () => {
    if (!view.open) return
    if (view.childElementCount === 1) view.append(draw())
    history.replaceState(null, '', `#${view.id}`)
  }
  return view
}

// ---- The page.

/** Opens the operation that the address names. */
function followHash() {
  const view = document.getElementById(location.hash.slice(1))
  if (view instanceof HTMLDetailsElement) view.open = true
  view?.scrollIntoView()
}

function drawApi() {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      operation,
    })),
  )
  const sections = api.tags.map(({ name, description = '' }) => {
    const entries = operations
      .filter(({ operation }) => operation.tags[0] === name)
      .map(({ method, path, operation }) => {
        const view = operationView(method, path, operation)
        const words = [method, path, operation.summary, operation['x-permission'], operation.operationId]
        const link = h(
          'a',
          { href: `#${view.id}`, title: operation.summary },
          h(`b.method.${method.toLowerCase()}`, {}, method),
          path.replace('/v1', ''),
        )
        return { view, link, words: words.join(' ').toLowerCase() }
      })
    const links = h('div', {}, h('a.tag', { href: `#tag_${name}` }, name), ...entries.map(({ link }) => link))
    const heading = h('h2', {}, name, ' ', h('small', {}, description))
    const section = h('section', { id: `tag_${name}` }, heading, ...entries.map(({ view }) => view))
    return { entries, links, section }
  })
  const nothing = h('p', { hidden: true }, 'Nothing fits this filter.')
  const [nav, main] = ['nav', 'main'].map((tag) => document.querySelector(tag))
  nav?.append(...sections.map(({ links }) => links))
  const about = api.info.description.split('\n\n').map((paragraph) => h('p', {}, prose(paragraph)))
  main?.replaceChildren(h('div.about', {}, ...about), nothing, ...sections.map(({ section }) => section))

  const filter = byId('filter')
  filter.oninput = () => {
    const words = filter.value.toLowerCase().split(/\s+/)
    for (const { entries, links, section } of sections) {
      for (const entry of entries) {
        entry.view.hidden = entry.link.hidden = !words.every((word) => entry.words.includes(word))
      }
      section.hidden = links.hidden = entries.every(({ view }) => view.hidden)
    }
    nothing.hidden = sections.some(({ section }) => !section.hidden)
  }
  filter.onkeydown = (event) => {
    const first = sections.flatMap(({ entries }) => entries).find(({ view }) => !view.hidden)
    if (event.key === 'Enter' && first) location.hash = first.view.id
  }
  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || document.activeElement?.matches('input, textarea, select')) return
    event.preventDefault()
    filter.focus()
  })
  addEventListener('hashchange', followHash)
  followHash()
}

lookWhoIsThere().catch(() => {})

fetch('/openapi.json')
  .then(async (answer) => {
    api = await answer.json()
    if (!answer.ok) throw new Error(`${answer.status}`)
    drawApi()
  })
  .catch((error) => {
    document
      .querySelector('main')
      ?.replaceChildren(h('p.hint', {}, `The document did not come: ${error.message}`))
  })
