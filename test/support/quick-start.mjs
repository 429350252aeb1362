// Preloaded by scripts that a test starts (`node --import`). The manifest of drizzle-orm has thousands of lines, and
// Node reads all of it for each of the hundred files that a script loads from there. That is a third of the start.
import { registerHooks } from 'node:module'

registerHooks({
  resolve(specifier, context, next) {
    const isWithin = specifier.startsWith('.') && context.parentURL?.includes('/node_modules/drizzle-orm/')
    if (!isWithin) return next(specifier, context)
    return { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true }
  },
})
