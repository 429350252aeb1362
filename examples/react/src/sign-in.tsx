import { hasPasskeys, type SecondFactor } from '@roster/client'
import { useRoster } from '@roster/client/react'
import { useState } from 'react'
import { Field, Form, sentenceOf } from './form.tsx'

export function SignIn() {
  const [isNew, setNew] = useState(false)
  const [factor, setFactor] = useState<SecondFactor>()
  const [notice, setNotice] = useState<string>()
  if (factor) return <Factor factor={factor} again={() => setFactor(undefined)} />
  return (
    <section>
      <h1>{isNew ? 'Create your account' : 'Sign in'}</h1>
      {notice && <p role="status">{notice}</p>}
      {isNew ? (
        <Join
          done={(said) => {
            setNotice(said)
            setNew(false)
          }}
        />
      ) : (
        <Password factorDue={setFactor} />
      )}
      <p>
        <button type="button" className="quiet" onClick={() => setNew(!isNew)}>
          {isNew ? 'I have an account' : 'Create an account'}
        </button>
      </p>
    </section>
  )
}

function Password({ factorDue }: { factorDue(factor: SecondFactor): void }) {
  const roster = useRoster()
  const [error, setError] = useState<string>()
  const withPasskey = () =>
    roster.signInWithPasskey().catch((caught) => {
      // NotAllowedError: they closed the browser's own dialog.
      if (caught.name !== 'NotAllowedError') setError(sentenceOf(caught))
    })
  return (
    <>
      <Form
        action="Sign in"
        button="Sign in"
        send={async ({ email = '', password = '' }) => {
          const { factor } = await roster.signIn({ email, password })
          if (factor) factorDue(factor)
        }}
      >
        <Field label="Email" name="email" type="email" autoComplete="username" />
        <Field label="Password" name="password" type="password" autoComplete="current-password" />
      </Form>
      {hasPasskeys() && (
        <p>
          <button type="button" className="plain" onClick={withPasskey}>
            Use a passkey
          </button>
        </p>
      )}
      <p role="alert" hidden={!error}>
        {error}
      </p>
    </>
  )
}

function Factor({ factor, again }: { factor: SecondFactor; again(): void }) {
  return (
    <section>
      <h1>Enter your code</h1>
      <Form
        action="Second factor"
        button="Continue"
        send={({ code = '' }) =>
          /^[\d\s]+$/.test(code) ? factor.code(code) : factor.recoveryCode(code.trim())
        }
      >
        <Field
          label="Code of your app, or a recovery code"
          name="code"
          autoComplete="one-time-code"
          autoFocus
        />
      </Form>
      <p>
        <button type="button" className="quiet" onClick={again}>
          Begin again
        </button>
      </p>
    </section>
  )
}

function Join({ done }: { done(notice: string): void }) {
  const roster = useRoster()
  return (
    <Form
      action="Create your account"
      button="Create account"
      send={async ({ name = '', email = '', password = '' }) => {
        const made = await roster.signUp({ name, email, password })
        if ('status' in made && made.status === 'accepted') return done('Check your mail, then sign in.')
        await roster.signIn({ email, password })
      }}
    >
      <Field label="Name" name="name" autoComplete="name" />
      <Field label="Email" name="email" type="email" autoComplete="username" />
      <Field label="Password" name="password" type="password" autoComplete="new-password" />
    </Form>
  )
}
