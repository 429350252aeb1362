/** Names under which this machine calls itself. Any other in `Host` means that somebody's DNS leads here. */
const LOCAL_NAMES = new Set(['localhost', '127.0.0.1', '[::1]'])

export const isLocalHost = (host: string | null | undefined) =>
  LOCAL_NAMES.has(URL.parse(`http://${host}`)?.hostname ?? '')

export const isLocalOrigin = (origin: string) => LOCAL_NAMES.has(URL.parse(origin)?.hostname ?? '')

/**
 * Whether a request comes from a program or page of this machine. A page from elsewhere reaches every port of
 * loopback, by its address (then `Origin` tells) or by a name of its own that leads there (then `Host` does).
 */
export const isLocal = (headers: { host?: string | undefined; origin?: string | undefined }) =>
  isLocalHost(headers.host) && (headers.origin === undefined || isLocalOrigin(headers.origin))

/** Any page could load `/cdn-cgi/handler/scheduled?cron=…` as an image, so a trigger is known by its key. */
export const cronName = (key: string, cron: string) => `${key} ${cron}`
