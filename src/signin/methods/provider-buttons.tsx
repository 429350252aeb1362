import type { FC, PropsWithChildren } from 'hono/jsx'
import type { IdentityProvider, ProviderKind } from '../../config/providers.ts'
import type { View } from '../../pages/view.ts'
import { type Continuation, paramsOf } from '../targets.ts'

type Path = [d: string, fill: string]

/** As each provider requires: Google's in its own colours, Apple's and GitHub's in the colour of the text. */
const MARKS: Partial<Record<ProviderKind, { box: string; paths: Path[] }>> = {
  google: {
    box: '0 0 48 48',
    paths: [
      [
        'M24 9.5c3.54 0 6.71 1.22 9.21 3.6l6.85-6.85C35.9 2.38 30.47 0 24 0 14.62 0 6.51 5.38 2.56 13.22l7.98 6.19C12.43 13.72 17.74 9.5 24 9.5z',
        '#ea4335',
      ],
      [
        'M46.98 24.55c0-1.57-.15-3.09-.38-4.55H24v9.02h12.94c-.58 2.96-2.26 5.48-4.78 7.18l7.73 6c4.51-4.18 7.09-10.36 7.09-17.65z',
        '#4285f4',
      ],
      [
        'M10.53 28.59c-.48-1.45-.76-2.99-.76-4.59s.27-3.14.76-4.59l-7.98-6.19C.92 16.46 0 20.12 0 24c0 3.88.92 7.54 2.56 10.78l7.97-6.19z',
        '#fbbc05',
      ],
      [
        'M24 48c6.48 0 11.93-2.13 15.89-5.81l-7.73-6c-2.15 1.45-4.92 2.3-8.16 2.3-6.26 0-11.57-4.22-13.47-9.91l-7.98 6.19C6.51 42.62 14.62 48 24 48z',
        '#34a853',
      ],
    ],
  },
  microsoft: {
    box: '0 0 21 21',
    paths: [
      ['M1 1h9v9H1z', '#f25022'],
      ['M11 1h9v9h-9z', '#7fba00'],
      ['M1 11h9v9H1z', '#00a4ef'],
      ['M11 11h9v9h-9z', '#ffb900'],
    ],
  },
  apple: {
    box: '0 0 24 24',
    paths: [
      [
        'M17.05 12.54c-.03-2.8 2.29-4.15 2.39-4.21-1.3-1.9-3.33-2.17-4.05-2.2-1.72-.17-3.36 1.02-4.24 1.02-.87 0-2.22-.99-3.65-.97-1.88.03-3.61 1.09-4.58 2.77-1.95 3.39-.5 8.41 1.4 11.16.93 1.35 2.04 2.86 3.49 2.81 1.4-.06 1.93-.91 3.62-.91 1.7 0 2.17.91 3.65.88 1.51-.03 2.46-1.37 3.38-2.73 1.07-1.56 1.51-3.08 1.53-3.16-.03-.01-2.93-1.13-2.94-4.46zM14.25 4.3c.77-.94 1.29-2.24 1.15-3.54-1.11.05-2.46.74-3.26 1.68-.71.82-1.34 2.15-1.17 3.42 1.24.1 2.51-.63 3.28-1.56z',
        'currentColor',
      ],
    ],
  },
  github: {
    box: '0 0 16 16',
    paths: [
      [
        'M8 0C3.58 0 0 3.58 0 8c0 3.54 2.29 6.53 5.47 7.59.4.07.55-.17.55-.38 0-.19-.01-.82-.01-1.49-2.01.37-2.53-.49-2.69-.94-.09-.23-.48-.94-.82-1.13-.28-.15-.68-.52-.01-.53.63-.01 1.08.58 1.23.82.72 1.21 1.87.87 2.33.66.07-.52.28-.87.51-1.07-1.78-.2-3.64-.89-3.64-3.95 0-.87.31-1.59.82-2.15-.08-.2-.36-1.02.08-2.12 0 0 .67-.21 2.2.82.64-.18 1.32-.27 2-.27s1.36.09 2 .27c1.53-1.04 2.2-.82 2.2-.82.44 1.1.16 1.92.08 2.12.51.56.82 1.27.82 2.15 0 3.07-1.87 3.75-3.65 3.95.29.25.54.73.54 1.48 0 1.07-.01 1.93-.01 2.2 0 .21.15.46.55.38A8.01 8.01 0 0 0 16 8c0-4.42-3.58-8-8-8z',
        'currentColor',
      ],
    ],
  },
}

export const ProviderMark: FC<{ kind: ProviderKind }> = ({ kind }) => {
  const mark = MARKS[kind]
  return mark ? (
    <svg width="18" height="18" viewBox={mark.box} aria-hidden="true">
      {mark.paths.map(([d, fill]) => (
        <path d={d} fill={fill} />
      ))}
    </svg>
  ) : null
}

/** The alternatives to a page's form, in one group. `needScript`: none of them works without a script. */
export const OtherWays: FC<PropsWithChildren<{ view: View; needScript?: boolean }>> = ({
  view,
  needScript,
  children,
}) => (
  <div class={needScript ? 'ways needs-script' : 'ways'}>
    <p class="or">{view.texts.signin.or}</p>
    {children}
  </div>
)

/** In the order of the setting. `token` is that of the page's form: it proves that the attempt began here. */
export const ProviderButtons: FC<
  { view: View; providers: readonly IdentityProvider[]; token: string; isAgain?: boolean } & Continuation
> = ({ view, providers, token, isAgain, ...on }) =>
  providers.length === 0 ? null : (
    <>
      {providers.map(({ id, kind, name }) => {
        const query = new URLSearchParams({
          [isAgain ? 'again' : 'sure']: token,
          ...paramsOf(on),
        })
        return (
          <a class="button wide provider" href={`/signin/with/${id}?${query}`} rel="nofollow">
            <ProviderMark kind={kind} />
            {view.texts.signin.provider.button(name)}
          </a>
        )
      })}
    </>
  )
