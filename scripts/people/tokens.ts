import { signIn } from '../sign-in.ts'

/** Gives the token in ROSTER_TOKEN, but only once. Without one, whoever runs the script is asked to sign in. */
export function tokenFrom(
  env: NodeJS.ProcessEnv,
  url: string,
  scopes: Parameters<typeof signIn>[0]['scopes'],
) {
  const given = env.ROSTER_TOKEN
  let isUsed = false
  return async () => {
    if (given === undefined || given === '') return signIn({ url, scopes })
    if (isUsed) throw new Error('The token in ROSTER_TOKEN has expired, or may not do this.')
    isUsed = true
    return given
  }
}
