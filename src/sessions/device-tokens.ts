import type { Config } from '../config/main.ts'
import { openSealed, seal } from '../crypto/sealed.ts'
import type { KnownDevice } from '../throttle/devices.ts'
import { YEAR_MS } from '../values/durations.ts'

/**
 * A device token shows that its holder has completed a sign-in to one account within the last year. It grants
 * no access: it only lets the device's attempts be counted apart from strangers'.
 */
export const makeDeviceToken = (
  { keys }: Pick<Config, 'keys'>,
  { deviceId, userId, epoch, number }: KnownDevice,
  now: number,
) =>
  seal(keys.device_token, `dt_${deviceId}.${userId}.${epoch}.${number}.${Math.floor((now + YEAR_MS) / 1000)}`)

/** A new known device of a user, as their row is now. */
export const newDevice = (user: { id: string; device_epoch: number; devices: number }): KnownDevice => ({
  deviceId: crypto.randomUUID(),
  userId: user.id,
  epoch: user.device_epoch,
  number: user.devices,
})

/** Undefined if it is not ours or has expired: its sender is then a stranger, which is not an error. */
export function openDeviceToken(
  { keys }: Pick<Config, 'keys'>,
  token: string | undefined,
  now: number,
): KnownDevice | undefined {
  const body = token === undefined ? undefined : openSealed(keys.device_token, token)
  // Devices were not numbered at first.
  const [, deviceId = '', userId = '', epoch, number = 0, expiresAt = 0] =
    /^dt_([0-9a-f-]{36})\.([0-9a-f-]{36})\.(\d{1,15})(?:\.(\d{1,15}))?\.(\d{1,12})$/.exec(body ?? '') ?? []
  if (Number(expiresAt) * 1000 <= now) return undefined
  return {
    deviceId,
    userId,
    epoch: Number(epoch),
    number: Number(number),
    knownSince: Number(expiresAt) * 1000 - YEAR_MS,
  }
}
