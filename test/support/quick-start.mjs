// For scripts that a test starts (`node --import`): the manifest of drizzle-orm has thousands of lines, and Node reads it
// through for each of the hundred files of it that a script loads. That is a third of a start.
import { registerHooks } from 'node:module'

registerHooks({
  resolve(specifier, context, next) {
    const isWithin = specifier.startsWith('.') && context.parentURL?.includes('/node_modules/drizzle-orm/')
    if (!isWithin) return next(specifier, context)
    return { url: new URL(specifier, context.parentURL).href, format: 'module', shortCircuit: true }
  },
})
