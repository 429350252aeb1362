import { parentPort, workerData } from 'node:worker_threads'
import { startUpstash } from '../scripts/local/upstash.ts'

/** The Redis endpoint in its own thread, so that it does not take time from the load generator. */
const endpoint = await startUpstash(workerData)
parentPort!.once('message', () => void endpoint.close().then(() => process.exit()))
parentPort!.postMessage({ url: endpoint.url, engine: endpoint.engine })
