import { parentPort, workerData } from 'node:worker_threads'
import { startUpstash } from '../scripts/local/upstash.ts'

/** The Redis endpoint in a thread of its own, so that the load generator does not share its time with it. */
const endpoint = await startUpstash(workerData)
parentPort!.once('message', () => void endpoint.close().then(() => process.exit()))
parentPort!.postMessage({ url: endpoint.url, engine: endpoint.engine })
