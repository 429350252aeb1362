import type { Config } from '../config/main.ts'
import type { IdentityProvider } from '../config/providers.ts'
import { askFor } from './metadata.ts'
import { emailIn, nameIn, type Profile, provesAddress } from './profiles.ts'

const PUBLIC = 'https://github.com'

/**
 * GitHub speaks OAuth but not OpenID Connect: the user is looked up with their token, which is then
 * discarded.
 */
export async function githubProfile(
  config: Config,
  provider: IdentityProvider,
  accessToken: string,
): Promise<Profile> {
  const base = provider.issuer === PUBLIC ? 'https://api.github.com' : `${provider.issuer}/api/v3`
  const get = async (path: string): Promise<unknown> => {
    const answer = await askFor(config)(`${base}${path}`, {
      headers: {
        accept: 'application/vnd.github+json',
        authorization: `Bearer ${accessToken}`,
        'user-agent': 'roster',
        'x-github-api-version': '2022-11-28',
      },
    })
    if (answer.status !== 200) throw new Error(`GitHub answered ${answer.status}`)
    return answer.json()
  }
  const [user, emails] = await Promise.all([get('/user'), get('/user/emails')])
  const { id, name, login } = user as Record<string, unknown>
  // The numeric id: a login name can be taken by somebody else once it is given up.
  if (!Number.isSafeInteger(id) || (id as number) <= 0) throw new Error('GitHub named nobody')
  const list = (Array.isArray(emails) ? emails : []) as Record<string, unknown>[]
  const verified = list.filter(({ email, verified }) => verified === true && emailIn(email) !== undefined)
  const email = emailIn((verified.find(({ primary }) => primary === true) ?? verified[0])?.email)
  return {
    subject: String(id),
    email,
    isProved: email !== undefined && provesAddress(provider, email),
    name: nameIn(name) ?? nameIn(login),
    isTwofold: false,
  }
}
