import { dataOf } from '@roster/client'
import { useRoster, useUser } from '@roster/client/react'
import { useEffect, useState } from 'react'
import { Field, Form, sentenceOf } from './form.tsx'

export function Account() {
  const roster = useRoster()
  const user = useUser()
  const [error, setError] = useState<string>()
  if (!user) return null
  return (
    <section>
      <h1>Hello, {user.name}</h1>
      <p>{user.email}</p>
      <Form
        action="Your name"
        button="Save"
        send={({ name = '' }) => dataOf(roster.api.PATCH('/v1/users/me', { body: { name } }))}
      >
        <Field label="Name" name="name" defaultValue={user.name} autoComplete="name" />
      </Form>
      <Devices />
      <p role="alert" hidden={!error}>
        {error}
      </p>
      <p>
        <button
          type="button"
          className="plain"
          onClick={() => roster.signOut().catch((caught) => setError(sentenceOf(caught)))}
        >
          Sign out
        </button>
      </p>
    </section>
  )
}

function Devices() {
  const roster = useRoster()
  const [devices, setDevices] = useState<{ id: string; user_agent: string | null; is_current: boolean }[]>([])
  useEffect(() => {
    dataOf(roster.api.GET('/v1/auth/sessions')).then(
      ({ data }) =>
        setDevices(data.map(({ id, user_agent, current }) => ({ id, user_agent, is_current: current }))),
      () => setDevices([]),
    )
  }, [roster])
  return (
    <>
      <h2>Devices</h2>
      <ul>
        {devices.map(({ id, user_agent, is_current }) => (
          <li key={id}>
            <bdi>{user_agent ?? 'Unknown'}</bdi> {is_current && <small>This one</small>}
          </li>
        ))}
      </ul>
    </>
  )
}
