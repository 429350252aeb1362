import { unavailable } from '../http/problem.ts'

export const mailNotConfigured = () =>
  unavailable('mail_not_configured', 'This needs mail, and none is configured.', undefined, 60)
