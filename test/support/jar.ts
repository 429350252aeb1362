import { type Api, PASSWORD } from './api.ts'

export const ORIGIN = 'http://roster.test'
const FROM_HERE = { origin: ORIGIN, 'sec-fetch-site': 'same-origin' }

export const cookieIn = (headers: Headers, name: string) =>
  headers.getSetCookie().find((cookie) => cookie.startsWith(`${name}=`))
export const SESSION = '__Host-roster'

/** A browser, as far as cookies and forms go. It follows no redirects, and renders nothing. */
export function openJar(api: Api) {
  const jar = new Map<string, string>()
  const ip = `10.${[1, 2, 3].map(() => Math.floor(Math.random() * 256)).join('.')}`

  async function request<T = Record<string, unknown>>(
    method: string,
    path: string,
    { headers = {}, ...options }: Parameters<Api['send']>[2] = {},
  ) {
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await api.send<T>(method, path, {
      ip,
      headers: { ...(cookie && { cookie }), ...headers },
      ...options,
    })
    for (const set of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set)!
      if (value === '') jar.delete(name!)
      else jar.set(name!, value!)
    }
    return { ...answer, to: answer.headers.get('location') }
  }
  const open = (path: string, headers = {}) => request('GET', path, { headers })
  /** Calls the API as a page of ours does. */
  const ask = (method: string, path: string, body?: unknown, headers = {}) =>
    request(method, path, { body, headers: { ...FROM_HERE, ...headers } })
  const post = (path: string, fields: Record<string, string>, headers = {}) =>
    request('POST', path, { raw: new URLSearchParams(fields), headers: { ...FROM_HERE, ...headers } })
  const tokenOf = async (page: string) =>
    /name="form_token" value="([^"]+)"/.exec((await open(page)).text)![1]!
  /** Opens `page` and submits one of its forms. */
  const submit = async (page: string, action: string, fields: Record<string, string> = {}, headers = {}) =>
    post(action, { form_token: await tokenOf(page), ...fields }, headers)
  const signIn = (email: string, more: Record<string, string> = {}) =>
    submit('/signin', '/signin', { email, password: PASSWORD, ...more })
  return { jar, open, ask, post, submit, signIn, tokenOf, request }
}

export type Jar = ReturnType<typeof openJar>
