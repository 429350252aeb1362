/**
 * List prices in US dollars beyond what a plan includes, and the only place to change them. They were published on
 * this date: check them before you rely on them.
 */
export const PRICES = {
  date: '2026-11-25',
  workers: {
    plan: 'Workers Paid ($5 a month; 10 million requests and 30 million ms of CPU are included)',
    perMillionRequests: 0.3,
    perMillionCpuMs: 0.02,
  },
  turso: {
    plan: 'Turso Developer, overage',
    perBillionRowsRead: 1,
    perMillionRowsWritten: 1,
  },
  upstash: {
    plan: 'Upstash Redis, pay as you go',
    per100kCommands: 0.2,
  },
} as const
