import { type SQL, sql } from 'drizzle-orm'
import { DEVICES_PER_ACCOUNT } from './limits.ts'

/** A device that has signed in to an account before. */
export interface KnownDevice {
  deviceId: string
  userId: string
  /**
   * The account's `device_epoch` when it became known. A new password, an undo and ending all sessions raise
   * it.
   */
  epoch: number
  /** Its number among the account's devices. */
  number: number
  /** When its token was issued (epoch ms). */
  knownSince?: number
}

/** Whether a user, as read, knows the device: an account knows only its newest ones. */
export const isKnownTo = (
  user: { id: string; device_epoch: number; devices: number },
  { userId, epoch, number }: KnownDevice,
): boolean => userId === user.id && epoch === user.device_epoch && user.devices - number < DEVICES_PER_ACCOUNT

/**
 * The same as a condition on a user.
 *
 * @param raised how many of the raises since the device became known to ignore.
 */
export const knowsDevice = ({ userId, epoch, number }: KnownDevice, raised = sql`0`): SQL =>
  sql`id = ${userId} AND device_epoch = ${epoch} + ${raised} AND devices - ${number} < ${DEVICES_PER_ACCOUNT}`
