import { html } from 'hono/html'
import { CODE_LIFETIME_MS } from '../links/service.ts'
import { inWords } from '../values/durations.ts'
import { toTime } from '../values/ids.ts'
import type { Asked, MailText, Moment } from './text.ts'
import type { MailTexts } from './texts/index.ts'

export interface Rendered {
  subject: string
  text: string
  html: string
}

/** What the reader can use; `lifetimeMs` is that of a one-time link. */
interface Access {
  link?: string
  lifetimeMs?: number
  code?: string | undefined
}

/** Both forms of a mail. Everything that people have typed is escaped, and kept to one line. */
export function render(texts: MailTexts, mail: MailText, access?: Access, asked?: Asked): Rendered {
  const { language, frame } = texts
  const oneLine = (value: string) => value.replace(/\s+/g, ' ').trim()
  const paragraphs = mail.paragraphs.map(oneLine)
  const lifetime = access?.lifetimeMs && frame.linkLifetime(inWords(access.lifetimeMs, language))
  const small = [lifetime, asked && sentenceOf(texts, asked, mail.happened)].filter(
    (line) => line !== undefined,
  )
  const intro = (access?.link ? frame.codeBesideLink : frame.codeAlone)(inWords(CODE_LIFETIME_MS, language))
  const plain = [...paragraphs, access?.link, access?.code && `${intro} ${access.code}`, ...small]
  const button =
    access &&
    html`${access.link ? html`<p><a href="${access.link}" style="display:inline-block;padding:.6em 1.2em;border-radius:.5em;background:#1f4fd8;color:#fff;text-decoration:none">${mail.button}</a></p>` : ''}
${access.code ? html`<p>${intro} <strong style="font-size:1.2em;letter-spacing:.1em">${access.code}</strong></p>` : ''}`
  const page = html`<!doctype html><html lang="${language}"><meta charset="utf-8">
<body style="font:16px/1.5 system-ui,sans-serif;color:#1c1c1e;max-width:34em;margin:2em auto;padding:0 1em">
${paragraphs.map((paragraph) => html`<p>${paragraph}</p>`)}
${button ?? ''}
${small.map((line) => html`<p style="color:#6b6b70">${line}</p>`)}
</body></html>`
  return {
    subject: oneLine(mail.subject),
    text: `${plain.filter(Boolean).join('\n\n')}\n`,
    html: String(page),
  }
}

/** When a mail was asked for, or when its event happened; from where, and with what. */
function sentenceOf(texts: MailTexts, asked: Asked, happened = texts.frame.asked): string {
  const { frame } = texts
  return frame.occasion({
    happened,
    ...momentOf(texts, asked.at),
    country: asked.country === null ? undefined : countryName(texts, asked.country),
    device: asked.device === null ? undefined : describeUserAgent(texts, asked.device),
  })
}

export function momentOf({ language }: MailTexts, at: number): Moment {
  const [date, time] = toTime(at).split('T') as [string, string]
  const day = new Date(`${date}T00:00:00Z`).toLocaleDateString(language === 'en' ? 'en-GB' : language, {
    dateStyle: 'long',
    timeZone: 'UTC',
  })
  return { day, time: time.slice(0, 5) }
}

function countryName({ language, frame }: MailTexts, code: string): string {
  if (!/^[A-Z]{2}$/.test(code)) return frame.unknownCountry
  return new Intl.DisplayNames(language, { type: 'region' }).of(code) ?? code
}

/** Devices are stored in our English words (`describeUserAgent`), before the language is known. */
function describeUserAgent({ frame }: MailTexts, device: string): string {
  const [browser, system] = device.split(' on ')
  return browser && system ? frame.deviceOn(browser, system) : device
}
