// Loaded before every script (`node --import`): explains missing packages in a sentence instead of the module
// loader's stack.
import { existsSync } from 'node:fs'

const packages = new URL('../node_modules/.package-lock.json', import.meta.url)
const complaint = !existsSync(packages)
  ? 'The packages are not installed yet. First: npm ci'
  : process.features.typescript
    ? undefined
    : `Node ${process.versions.node} cannot run TypeScript: Node 22.18 or newer does. Start this by npm, which finds the one among the packages.`
if (complaint) {
  console.error(complaint)
  process.exit(1)
}
