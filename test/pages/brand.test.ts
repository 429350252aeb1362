import { expect, test } from 'vitest'
import { brandOf, brandSheet, contrast } from '../../src/pages/brand/brand.ts'
import { openApi } from '../support/api.ts'

const GROUNDS = { light: ['#f8f7f4', '#ffffff', '#f2f0ec'], dark: ['#11100f', '#191815', '#0d0c0a'] }
const COLOURS = ['#ffcc00', '#000', '#fff', '#808080', '#01614d', '#e11d48', '#2563eb', '#00ff00', '#ff00ff']

test.each(COLOURS)('HD2: with the colour %s, everything can be read in light and dark', (given) => {
  const { light, dark } = brandOf(given)
  for (const ground of GROUNDS.light) expect(contrast(light.accent, ground)).toBeGreaterThanOrEqual(4.5)
  for (const ground of GROUNDS.dark) expect(contrast(dark.accent, ground)).toBeGreaterThanOrEqual(6)
  for (const { fill, onFill } of [light, dark])
    expect(contrast(fill, onFill), `${fill} ${onFill}`).toBeGreaterThanOrEqual(4.5)
  const shape = light.fillEdge === 'transparent' ? light.fill : light.fillEdge
  for (const ground of GROUNDS.light) expect(contrast(shape, ground)).toBeGreaterThanOrEqual(3)
  for (const ground of GROUNDS.dark) expect(contrast(dark.fill, ground)).toBeGreaterThanOrEqual(3)
})

test('The colour is a stylesheet with four properties, whose URL changes with it', async () => {
  const api = openApi({ BRAND_COLOUR: '#ffcc00', BRAND_LOGO_URL: '/logo.svg', ORGANISATION: 'Fjord & Co' })
  const { path, css } = brandSheet('#ffcc00')
  const page = await api.send('GET', '/signin')
  expect(page.text).toContain(`<link rel="stylesheet" href="${path}"/>`)
  expect(page.text).toContain('<img src="/logo.svg" alt="Fjord &amp; Co"/>')
  const sheet = await api.send('GET', path)
  expect([sheet.status, sheet.headers.get('content-type'), sheet.text]).toEqual([
    200,
    'text/css; charset=utf-8',
    css,
  ])
  expect(sheet.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
  expect(css.match(/--[\w-]+:/g)).toEqual(['--accent:', '--fill:', '--on-fill:', '--fill-edge:'])
  for (const [bindings, address] of [
    [{}, path],
    [{ BRAND_COLOUR: '#01614d' }, path],
  ] as const)
    expect((await openApi(bindings).send('GET', address)).status).toBe(404)
})

test('A deployment can change a sentence in one language', async () => {
  const api = openApi({ PAGE_TEXTS: JSON.stringify({ en: { 'signin.title': 'Welcome aboard' } }) })
  const [english, german] = [
    await api.send('GET', '/signin?lang=en'),
    await api.send('GET', '/signin?lang=de'),
  ]
  expect(english.text).toContain('<h1>Welcome aboard</h1>')
  expect(german.text).not.toContain('Welcome aboard')
})

test('What is not found is a page for a browser, and a problem document otherwise', async () => {
  const api = openApi()
  const headers = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }
  const page = await api.send('GET', '/nothing-here', { headers })
  expect([page.status, page.headers.get('content-type')]).toEqual([404, 'text/html; charset=UTF-8'])
  expect(page.text).toContain('There is nothing here')
  for (const [path, options] of [
    ['/v1/nothing-here', { headers }],
    ['/nothing-here', {}],
  ] as const) {
    const answer = await api.send('GET', path, options)
    expect([answer.status, answer.body.code]).toEqual([404, 'not_found'])
  }
})

test('BRAND_COLOUR, BRAND_LOGO_URL and PAGE_TEXTS are refused if they cannot work', async () => {
  for (const bindings of [
    { BRAND_COLOUR: 'green' },
    { BRAND_LOGO_URL: 'https://cdn.test/logo.svg' },
    { BRAND_LOGO_URL: '//cdn.test/logo.svg' },
    { PAGE_TEXTS: '["x"]' },
    { PAGE_TEXTS: '{"en":{"signin.title":1}}' },
  ])
    expect((await openApi(bindings).send('GET', '/ready')).status).toBe(503)
})
