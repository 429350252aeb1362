import type { FC } from 'hono/jsx'
import { outranks } from '../../access/permissions.ts'
import { Select } from '../../pages/components.tsx'
import type { Viewer } from '../../pages/layout.tsx'
import type { View } from '../../pages/view.ts'
import { ROLES } from '../../users/models.ts'

/** The roles that the viewer may give; no choice is shown if there is only one. */
export const RoleSelect: FC<{ view: View; viewer: Viewer; value?: string | undefined }> = ({
  view,
  viewer,
  value = 'user',
}) => {
  const roles = ROLES.filter((role) => outranks(viewer.role, role))
  if (roles.length < 2) return null
  return (
    <Select
      name="role"
      label={view.texts.console.person.role}
      value={value}
      options={roles.map((role) => [role, view.texts.common.roles[role]])}
    />
  )
}
