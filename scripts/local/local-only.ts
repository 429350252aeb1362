/** This machine's own names. Any other name in `Host` means that somebody's DNS points here. */
const LOCAL_NAMES = new Set(['localhost', '127.0.0.1', '[::1]'])

export const isLocalHost = (host: string | null | undefined) =>
  LOCAL_NAMES.has(URL.parse(`http://${host}`)?.hostname ?? '')

export const isLocalOrigin = (origin: string) => LOCAL_NAMES.has(URL.parse(origin)?.hostname ?? '')

/**
 * Whether a request comes from a program or page of this machine. A page from elsewhere can reach every port of
 * loopback: by its address (which `Origin` shows), or by a name of its own that points there (which `Host` shows).
 */
export const isLocal = (headers: { host?: string | undefined; origin?: string | undefined }) =>
  isLocalHost(headers.host) && (headers.origin === undefined || isLocalOrigin(headers.origin))

/** Any page could load `/cdn-cgi/handler/scheduled?cron=…` as an image, so a trigger must carry this key. */
export const cronName = (key: string, cron: string) => `${key} ${cron}`
