import type { FC } from 'hono/jsx'
import { RUNS_EVERY_MINUTES } from '../cleanup/models.ts'
import type { CleanupRun } from '../cleanup/schemas.ts'
import type { Mail } from '../mail/listing.ts'
import { Ago, AsRequest, Badge, Button, Form, Message, Notice, type Said } from '../pages/components.tsx'
import { toNumber } from '../pages/format.ts'
import { ConsolePage, Head, Section } from '../pages/layout.tsx'
import type { Texts } from '../pages/texts/index.ts'
import { type CheckName, MAIL_OVERDUE_MINUTES, type Readiness } from '../system/checks.ts'
import type { PageProps } from './today.tsx'

export const SystemPage: FC<
  PageProps & { readiness: Readiness; mails: Mail[]; runs: CleanupRun[]; message?: Said | undefined }
> = ({ view, viewer, readiness, mails, runs, message }) => {
  const texts = view.texts.console.system
  const { checks, counts } = readiness
  const worst = checks.some(({ status }) => status === 'failed')
    ? 'failed'
    : checks.some(({ status }) => status === 'degraded')
      ? 'degraded'
      : 'ok'
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title}>
      <Head title={texts.title} lead={texts.lead} />
      {message ? <Message message={message} /> : <State view={view} worst={worst} />}
      <div class="sections">
        <Section title={texts.checksTitle}>
          <div class="rows">
            {checks.map(({ name, status }) => (
              <div class="row">
                <div class="what">
                  <span class="title">{texts.checks[name]}</span>
                  <span class="detail">
                    {hintOf(name, texts.checkHints)}
                    {name === 'mail' &&
                      ` ${texts.waiting(counts.mail.waiting)}, ${texts.dead(counts.mail.dead)}.`}
                  </span>
                </div>
                {status === 'ok' ? (
                  <span class="soft small">{texts.ok}</span>
                ) : (
                  <Badge tone={status === 'failed' ? 'danger' : 'warn'}>
                    {status === 'failed' ? texts.failed : texts.away}
                  </Badge>
                )}
              </div>
            ))}
          </div>
          <AsRequest view={view} method="GET" path="/ready" />
        </Section>
        <Section title={texts.mails} hint={texts.mailsHint} id="mails">
          {mails.length === 0 && <p class="soft">{texts.noMails}</p>}
          <div class="rows">
            {mails.map((mail) => (
              <div class="row">
                <div class="what">
                  <span class="title">
                    <span class="cut" title={mail.to}>
                      {texts.mailTo(texts.mailKinds[mail.kind] ?? texts.aMail, mail.to)}
                    </span>
                  </span>
                  <span class="detail">
                    <Ago view={view} at={Date.parse(mail.dead_at ?? mail.created_at)} />
                    {mail.refusal && ` · ${texts.refusedWith(mail.refusal)}`}
                  </span>
                </div>
                <Form action={`/admin/system/mails/${mail.id}/retry`} token={viewer.formToken} class="">
                  <Button>{texts.retry}</Button>
                </Form>
              </div>
            ))}
          </div>
          <AsRequest
            view={view}
            calls={[
              { method: 'GET', path: '/v1/mails?status=dead' },
              ...(mails[0] ? [{ method: 'POST', path: `/v1/mails/${mails[0].id}/retry` }] : []),
            ]}
          />
        </Section>
        <Section title={texts.runs} hint={texts.runsHint(RUNS_EVERY_MINUTES)}>
          {runs.length === 0 && <p class="soft">{texts.noRuns}</p>}
          <div class="rows">
            {runs.map((run) => {
              const removed = Object.entries(run.removed)
              return (
                <div class="row">
                  <div class="what">
                    <span class="title">
                      <Ago view={view} at={Date.parse(run.started_at)} />
                      {run.finished_at === null && <Badge tone="warn">{texts.running}</Badge>}
                    </span>
                    <span class="detail">
                      {removed.length === 0
                        ? texts.nothingRemoved
                        : removed
                            .map(([name, count]) => `${name} ${toNumber(view.language, count)}`)
                            .join(', ')}
                    </span>
                  </div>
                </div>
              )
            })}
          </div>
          <AsRequest view={view} method="GET" path="/v1/cleanup/runs" />
        </Section>
        <Colour view={view} />
      </div>
    </ConsolePage>
  )
}

function hintOf(name: CheckName, hints: Texts['console']['system']['checkHints']): string {
  if (name === 'cron') return hints.cron(RUNS_EVERY_MINUTES)
  return name === 'mail' ? hints.mail(MAIL_OVERDUE_MINUTES) : hints[name]
}

/** The organisation's colour as given, and as adjusted so that all text stays readable. */
const Colour: FC<{ view: PageProps['view'] }> = ({ view }) => {
  const texts = view.texts.console.system
  if (!view.brand) return null
  const { given, light, dark } = view.brand.brand
  const rows: [name: string, colours: string[]][] = [
    [texts.colourGiven, [given]],
    [texts.colourLight, [light.accent, light.fill]],
    [texts.colourDark, [dark.accent, dark.fill]],
  ]
  return (
    <Section title={texts.colour} hint={texts.colourHint}>
      <div class="rows">
        {rows.map(([name, colours]) => (
          <div class="row">
            <div class="what">
              <span class="title">{name}</span>
              <span class="detail mono">{[...new Set(colours)].join(' ')}</span>
            </div>
            {[...new Set(colours)].map((colour) => (
              <svg width="32" height="32" aria-hidden="true">
                <rect width="32" height="32" rx="6" fill={colour} />
              </svg>
            ))}
          </div>
        ))}
      </div>
    </Section>
  )
}

const State: FC<{ view: PageProps['view']; worst: 'ok' | 'degraded' | 'failed' }> = ({ view, worst }) => {
  const texts = view.texts.console.system
  if (worst === 'ok') return <Notice title={texts.ready} />
  return worst === 'degraded' ? (
    <Notice tone="warn" title={texts.degraded}>
      <p>{texts.degradedHint}</p>
    </Notice>
  ) : (
    <Notice tone="danger" title={texts.failing}>
      <p>{texts.failingHint}</p>
    </Notice>
  )
}
