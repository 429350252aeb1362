import type { FC } from 'hono/jsx'
import { ACCOUNT, isPermission } from '../access/permissions.ts'
import { isOfOpenId } from '../oauth/models.ts'
import type { Resource } from '../oauth/resources.ts'
import type { View } from '../pages/view.ts'

/** What an app would be allowed to do, at which service, and for how long. */
export const ScopeList: FC<{ view: View; scopes: readonly string[]; resource: Resource | undefined }> = ({
  view,
  scopes,
  resource,
}) => {
  const { consent, scopes: names } = view.texts.apps
  const isAtResource = (scope: string) => resource !== undefined && !isOfOpenId(scope)
  const here = scopes.filter((scope) => !isAtResource(scope))
  const acts = resource !== undefined || scopes.some((scope) => isPermission(scope) || scope === ACCOUNT)
  return (
    <div class="stack">
      {resource && (
        <>
          <p>{consent.mayAt(resource.name, resource.url)}</p>
          <ul class="bullets">
            {scopes.filter(isAtResource).map((scope) => (
              <li>{scope}</li>
            ))}
          </ul>
        </>
      )}
      {here.length > 0 && (
        <>
          <p>{consent.may}</p>
          <ul class="bullets">
            {here.map((scope) => (
              <li>{names[scope] ?? scope}</li>
            ))}
          </ul>
        </>
      )}
      <p class="hint">
        {acts ? consent.cannotAct : consent.cannot}{' '}
        {scopes.includes('offline_access') ? consent.untilStopped : consent.until}
      </p>
    </div>
  )
}
