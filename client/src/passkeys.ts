/** What Roster hands to the browser, and the browser to Roster, is WebAuthn's own JSON. */
type Json = Record<string, unknown>

export interface Asking {
  /** `conditional` offers passkeys in the autofill of a field with `autocomplete="username webauthn"`. */
  mediation?: CredentialMediationRequirement
  signal?: AbortSignal
}

/** Whether the browser supports passkeys. Without support, asking for one rejects with a TypeError. */
export const hasPasskeys = (): boolean =>
  typeof PublicKeyCredential === 'function' && 'parseRequestOptionsFromJSON' in PublicKeyCredential

/** Rejects with the browser's own NotAllowedError if somebody closes its dialog. */
export const askPasskey = async (options: Json, asking?: Asking) =>
  toJson(
    await navigator.credentials.get({
      publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options as never),
      ...asking,
    }),
  )

export const makePasskey = async (options: Json) =>
  toJson(
    await navigator.credentials.create({
      publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options as never),
    }),
  )

const toJson = (credential: Credential | null) => (credential as PublicKeyCredential).toJSON() as never
