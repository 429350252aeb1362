import type { Child, FC } from 'hono/jsx'
import { AsRequest, Badge } from '../pages/components.tsx'
import { type Known, KnownPasskeys } from '../pages/factors.tsx'
import { toDuration, toLongDay, toNumber } from '../pages/format.ts'
import { History } from '../pages/history.tsx'
import { ConsolePage, Head, type Viewer } from '../pages/layout.tsx'
import type { View } from '../pages/view.ts'
import type { Readiness } from '../system/checks.ts'
import { OWED_MS } from '../webhooks/models.ts'
import { Chart, Numbers } from './chart.tsx'
import type { readToday } from './queries.ts'

export interface PageProps {
  view: View
  viewer: Viewer
}

type Today = Awaited<ReturnType<typeof readToday>>

interface Shown {
  today: Today
  readiness: Readiness | undefined
  known: Known
  /** `SECOND_FACTOR=optional`: managers may have only a password. Shown to those who can change that. */
  asksForNoFactor: boolean
}

export const TodayPage: FC<PageProps & Shown> = ({ view, viewer, ...shown }) => {
  const { today } = shown
  const texts = view.texts.console.today
  const { data: days, totals } = today.stats
  const number = (value: number) => toNumber(view.language, value)
  const { logged_in: signedIn = 0, failed = 0, signed_up: signedUp = 0 } = days.at(-1) ?? {}
  const tries = signedIn + failed
  const signIns = days.map(({ day, logged_in, failed }) => ({
    at: Date.parse(day),
    up: logged_in,
    down: failed,
  }))
  const signUps = days.map(({ day, signed_up }) => ({ at: Date.parse(day), up: signed_up }))
  return (
    <ConsolePage view={view} viewer={viewer} title={texts.title}>
      <Head title={texts.title} lead={`${toLongDay(view, view.now)}, ${view.timeZone}`} />
      <section class="stack">
        <h2>{texts.attention}</h2>
        <Attention view={view} viewer={viewer} {...shown} />
      </section>
      <dl class="figures">
        <Figure
          name={texts.people}
          value={number((totals.by_status.active ?? 0) + (totals.by_status.disabled ?? 0))}
        >
          {signedUp > 0 && texts.newToday(number(signedUp))}
        </Figure>
        <Figure name={texts.signedIn} value={number(signedIn)} />
        <Figure name={texts.failed} value={number(failed)}>
          {texts.ofTries(`${tries === 0 ? 0 : Math.round((failed / tries) * 100)} %`)}
        </Figure>
        <Figure name={texts.invited} value={number(today.invited)} />
      </dl>
      <div class="beside">
        <div class="content">
          <Chart view={view} title={texts.signInsChart} days={signIns} />
          <Chart view={view} title={texts.signUpsChart} days={signUps} />
          <div>
            <Numbers view={view} signIns={signIns} signUps={signUps} />
            <AsRequest view={view} method="GET" path="/v1/stats" />
          </div>
        </div>
        <section class="content">
          <div class="head">
            <h2>{texts.latest}</h2>
            <a href="/admin/activity">{texts.all}</a>
          </div>
          {today.history.length === 0 ? (
            <p class="soft">{texts.quiet}</p>
          ) : (
            <History view={view} rows={today.history} viewerId={viewer.id} names={today.names} leads />
          )}
        </section>
      </div>
      <KnownPasskeys known={shown.known} />
    </ConsolePage>
  )
}

const Figure: FC<{ name: string; value: string; children?: Child }> = ({ name, value, children }) => (
  <div>
    <dt>{name}</dt>
    <dd>{value}</dd>
    {children && <dd class="hint">{children}</dd>}
  </div>
)

/** What needs attention: the same checks as /ready, mails that were given up, and locked accounts. */
const Attention: FC<PageProps & Shown> = ({
  view,
  today: { locked, leftBehind, leftWithout, failingHooks },
  readiness,
  asksForNoFactor,
}) => {
  const { today: texts, system, badge } = view.texts.console
  const { attention, somebodyGone } = view.texts.clients
  const { leftWithout: without } = view.texts.factors
  const { attention: ofHooks, badges } = view.texts.webhooks
  const failing = readiness?.checks.filter(({ status }) => status !== 'ok') ?? []
  const dead = readiness?.counts.mail.dead ?? 0
  const number = (count: number) => (count >= 100 ? '100+' : toNumber(view.language, count))
  const ofOthers = leftBehind.length + leftWithout.length + failingHooks.length
  if (failing.length + dead + locked + ofOthers === 0 && !asksForNoFactor)
    return <p class="soft">{texts.nothing}</p>
  return (
    <div class="rows">
      {failing.map(({ name, status }) => (
        <Task
          tone={status === 'failed' ? 'danger' : 'warn'}
          badge={texts.failing}
          title={texts.failed_check(system.checks[name])}
          hint={texts.failedCheckHint}
          href="/admin/system"
          action={texts.openSystem}
        />
      ))}
      {locked > 0 && (
        <Task
          tone="danger"
          badge={badge.locked}
          title={texts.lockedPeople(number(locked))}
          hint={texts.lockedPeopleHint}
          href="/admin/people?locked=true"
          action={texts.seeWho}
        />
      )}
      {leftWithout.length > 0 && (
        <Task
          tone="warn"
          badge={without.badge}
          title={without.title(number(leftWithout.length))}
          hint={
            <>
              {without.hint} <Names people={leftWithout} more={without.more} />
            </>
          }
          href={`/admin/people/${leftWithout[0]!.id}`}
          action={without.look}
        />
      )}
      {dead > 0 && (
        <Task
          tone="warn"
          badge={texts.stuck}
          title={texts.deadMails(dead)}
          hint={texts.deadMailsHint}
          href="/admin/system#mails"
          action={texts.seeMails}
        />
      )}
      {failingHooks.map(({ id, url, rested_at }) => (
        <Task
          tone={rested_at === null ? 'danger' : 'warn'}
          badge={badges[rested_at === null ? 'failing' : 'resting']!}
          title={(rested_at === null ? ofHooks.failing : ofHooks.resting)(new URL(url).host)}
          hint={rested_at === null ? ofHooks.failingHint : ofHooks.restingHint(toDuration(view, OWED_MS))}
          href={`/admin/webhooks/${id}`}
          action={ofHooks.look}
        />
      ))}
      {leftBehind.map(({ id, name, what, who }) =>
        what !== 'webhook' ? null : (
          <Task
            tone="warn"
            badge={attention.badge}
            title={ofHooks.secret(new URL(name).host, who ?? somebodyGone)}
            hint={ofHooks.secretHint}
            href={`/admin/webhooks/${id}#secret`}
            action={attention.replace}
          />
        ),
      )}
      {leftBehind
        .filter(({ what }) => what !== 'webhook')
        .map(({ id, name, what, who }) => (
          <Task
            tone="warn"
            badge={what === 'secret' ? attention.badge : attention.ownerBadge}
            title={what === 'secret' ? attention.secret(name, who ?? somebodyGone) : attention.owner(name)}
            hint={what === 'secret' ? attention.secretHint : attention.ownerHint}
            href={`/admin/apps/${id}${what === 'secret' ? '#secret' : ''}`}
            action={what === 'secret' ? attention.replace : attention.look}
          />
        ))}
      {asksForNoFactor && (
        <Task
          tone="warn"
          badge={texts.setting}
          title={texts.noFactor}
          hint={texts.noFactorHint}
          href="/account/security"
          action={texts.addFactor}
        />
      )}
    </div>
  )
}

const MAX_NAMES = 5

/** The first of many people, each with a link to their page. */
const Names: FC<{ people: { id: string; name: string }[]; more: (count: number) => string }> = ({
  people,
  more,
}) => (
  <>
    {people.slice(0, MAX_NAMES).map(({ id, name }, index) => (
      <>
        {index > 0 && ', '}
        <a href={`/admin/people/${id}`}>
          <bdi>{name}</bdi>
        </a>
      </>
    ))}
    {people.length > MAX_NAMES && ` ${more(people.length - MAX_NAMES)}`}
  </>
)

const Task: FC<{
  tone: 'danger' | 'warn'
  badge: string
  title: string
  hint: Child
  href: string
  action: string
}> = ({ tone, badge, title, hint, href, action }) => (
  <div class="row">
    <div class="what">
      <span class="title">
        <Badge tone={tone}>{badge}</Badge> {title}
      </span>
      <span class="detail">{hint}</span>
    </div>
    <a class="button" href={href}>
      {action}
    </a>
  </div>
)
