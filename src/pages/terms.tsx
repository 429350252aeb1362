import type { FC } from 'hono/jsx'
import { Checkbox } from './components.tsx'
import type { View } from './view.ts'

/** Agreement to the terms as they were when the page was drawn: a form sent later agrees to no others. */
export const TermsBox: FC<{ view: View; error?: string | undefined }> = ({
  view: { terms, texts },
  error,
}) => {
  if (!terms) return null
  const { url, privacyUrl } = terms
  const sentence = texts.signin.terms[url && privacyUrl ? 'both' : url ? 'terms' : 'privacy']
  const links = [url, privacyUrl].filter((link) => link !== undefined)
  return (
    <Checkbox name="terms_version" value={terms.version} error={error} required>
      {sentence.split('*').map((part, index) =>
        index % 2 === 0 ? (
          part
        ) : (
          <a href={links[(index - 1) / 2]} target="_blank" rel="noopener">
            {part}
          </a>
        ),
      )}
    </Checkbox>
  )
}
