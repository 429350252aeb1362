import { afterAll } from 'vitest'
import { closeFreshUpstreams } from './upstreams.ts'

afterAll(closeFreshUpstreams)
