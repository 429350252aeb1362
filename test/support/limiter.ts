/** A limiter that counts as the platform's does, in one window that does not end. */
export function limiter(limit: number) {
  const counts = new Map<string, number>()
  return {
    limit: async ({ key }: { key: string }) => {
      counts.set(key, (counts.get(key) ?? 0) + 1)
      return { success: counts.get(key)! <= limit }
    },
  }
}
