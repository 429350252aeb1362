// Passkeys need a script: it asks the browser for one, puts the answer into the form, and sends it.

const supported = typeof PublicKeyCredential === 'function' && PublicKeyCredential.parseRequestOptionsFromJSON
const TRIED = 'roster-passkey'
// A challenge is good for five minutes; one that waits in the autofill is asked for anew before that.
const RENEW_MS = 240_000
let waiting

async function optionsOf(form) {
  if (form.dataset.given) return JSON.parse(form.dataset.given)
  const body = form.dataset.body
  const answer = await fetch(form.dataset.url, {
    method: 'POST',
    ...(body && { body, headers: { 'content-type': 'application/json' } }),
  })
  if (!answer.ok) throw new Error(String(answer.status))
  return answer.json()
}

function send(form, challengeId, credential) {
  form.elements.challenge_id.value = challengeId
  form.elements.credential.value = JSON.stringify(credential)
  if (form.dataset.passkey === 'get') sessionStorage.setItem(TRIED, `${credential.id} ${challengeId}`)
  form.submit()
}

async function ask(form, mediation) {
  const { challenge_id, options } = await optionsOf(form)
  waiting?.abort()
  const abort = new AbortController()
  waiting = abort
  const creates = form.dataset.passkey === 'create'
  const publicKey = creates
    ? PublicKeyCredential.parseCreationOptionsFromJSON(options)
    : PublicKeyCredential.parseRequestOptionsFromJSON(options)
  const asked = { publicKey, signal: abort.signal, ...(mediation && { mediation }) }
  const credential = await (creates ? navigator.credentials.create(asked) : navigator.credentials.get(asked))
  if (credential) send(form, challenge_id, credential.toJSON())
}

/** Offers passkeys in the autofill for as long as the page is open; it begins again after an error. */
async function offer(form) {
  if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return
  for (;;) {
    const renewal = setTimeout(() => waiting?.abort('renew'), RENEW_MS)
    try {
      await ask(form, 'conditional')
      return
    } catch {
      // Somebody pressed the button meanwhile: that goes first.
      if (form.dataset.busy) return
      await new Promise((resolve) => setTimeout(resolve, 1000))
    } finally {
      clearTimeout(renewal)
    }
  }
}

for (const form of document.querySelectorAll('form[data-passkey]')) {
  if (!supported) {
    form.hidden = true
    continue
  }
  if (form.dataset.conditional) offer(form)
  form.addEventListener('submit', async (event) => {
    if (form.elements.credential.value) return
    event.preventDefault()
    form.dataset.busy = 'yes'
    try {
      await ask(form)
    } catch {
      // They closed the browser's own dialog; the page is as it was.
      delete form.dataset.busy
      if (form.dataset.conditional) offer(form)
    }
  })
}

// The authenticator is told what is left, so that a passkey that was removed is not offered for ever.
const known = document.querySelector('[data-passkeys-known]')
if (known && supported)
  PublicKeyCredential.signalAllAcceptedCredentials?.(JSON.parse(known.dataset.passkeysKnown)).catch(() => {})
// And of one that nobody has here: by the challenge that it has answered in this tab, so that no link can forget others.
const unknown = document.querySelector('[data-passkey-unknown]')
const [credentialId, answered] = sessionStorage.getItem(TRIED)?.split(' ') ?? []
if (unknown && answered && supported) {
  const { rpId, tried } = JSON.parse(unknown.dataset.passkeyUnknown)
  if (tried === answered)
    PublicKeyCredential.signalUnknownCredential?.({ rpId, credentialId }).catch(() => {})
}
sessionStorage.removeItem(TRIED)
