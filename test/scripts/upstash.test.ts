import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from '@upstash/redis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasRedisServer } from '../../scripts/local/redis.ts'
import { startUpstash } from '../../scripts/local/upstash.ts'

const token = 'correct-horse'
const COUNT = `
  local count = redis.call('INCR', KEYS[1])
  if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
  return { count, redis.call('PTTL', KEYS[1]) }`
const LOOP = `
  local all = {}
  for index = 1, 3 do all[index] = ARGV[index] end
  return all`

for (const engine of ['server', 'embedded'] as const) {
  describe.skipIf(engine === 'server' && !hasRedisServer())(`Upstash over the ${engine} engine`, () => {
    let dir: string
    let upstash: Awaited<ReturnType<typeof startUpstash>>
    let redis: Redis
    let plain: Redis

    beforeAll(async () => {
      dir = mkdtempSync(join(tmpdir(), 'roster-upstash-'))
      upstash = await startUpstash({ token, engine, dir })
      redis = new Redis({ url: upstash.url, token })
      plain = new Redis({ url: upstash.url, token, responseEncoding: false, automaticDeserialization: false })
    })
    afterAll(async () => {
      await upstash.close()
      rmSync(dir, { recursive: true })
    })

    const post = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
      const response = await fetch(upstash.url + path, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      })
      return { status: response.status, body: await response.json() }
    }

    test('says which engine it runs', () => expect(upstash.engine).toBe(engine))

    test('gets what was set, and null for what was not', async () => {
      expect(await redis.set('greeting', 'hello')).toBe('OK')
      expect(await redis.get('greeting')).toBe('hello')
      expect(await redis.get('nothing')).toBeNull()
      expect(await redis.mget('greeting', 'nothing')).toEqual(['hello', null])
      expect(await redis.exists('greeting', 'nothing')).toBe(1)
      expect(await redis.del('greeting', 'nothing')).toBe(1)
      expect(await redis.get('greeting')).toBeNull()
    })

    test('keeps objects whole', async () => {
      await redis.set('object', { a: [1, 'two'], b: null })
      expect(await redis.get('object')).toEqual({ a: [1, 'two'], b: null })
    })

    test.each(['OK', 'T0s=', 'aGVsbG8=', 'naïve ☃ 𝄞', 'line\r\nbreak\0nul', ''])(
      'hands back %j as it was',
      async (value) => {
        await redis.set('text', value)
        const raw = new Redis({ url: upstash.url, token, automaticDeserialization: false })
        expect(await raw.get('text')).toBe(value)
        expect(await raw.mget('text', 'text')).toEqual([value, value])
        expect(await raw.mget('text')).toEqual([value])
        expect(await plain.get('text')).toBe(value)
      },
    )

    test('answers in base64 only when asked to', async () => {
      await redis.set('greeting', 'hello')
      const base64 = { 'upstash-encoding': 'base64' }
      expect((await post('/', ['GET', 'greeting'], base64)).body).toEqual({ result: 'aGVsbG8=' })
      expect((await post('/', ['GET', 'greeting'])).body).toEqual({ result: 'hello' })
      expect((await post('/', ['SET', 'greeting', 'hello'], base64)).body).toEqual({ result: 'OK' })
      await redis.set('greeting', 'OK')
      expect((await post('/', ['MGET', 'greeting'], base64)).body).toEqual({ result: ['T0s='] })
    })

    test('expires keys', async () => {
      expect(await redis.set('soon', '1', { px: 2000 })).toBe('OK')
      expect(await redis.set('soon', '2', { px: 2000, nx: true })).toBeNull()
      expect(await redis.pttl('soon')).toBeGreaterThan(0)
      await expect.poll(() => redis.get('soon')).toBeNull()
      expect(await redis.pttl('soon')).toBe(-2)

      await redis.set('later', '1')
      expect(await redis.pttl('later')).toBe(-1)
      expect(await redis.expire('later', 100)).toBe(1)
      expect(await redis.ttl('later')).toBeGreaterThan(98)
      expect(await redis.expire('nothing', 100)).toBe(0)
    })

    test('counts, and refuses to count words', async () => {
      await redis.del('count')
      expect(await redis.incr('count')).toBe(1)
      expect(await redis.incrby('count', 4)).toBe(5)
      await redis.set('word', 'many')
      await expect(redis.incr('word')).rejects.toThrow('ERR value is not an integer')
      expect(await redis.get('word')).toBe('many')
    })

    test('loses no count when many count at once', async () => {
      await redis.del('count')
      await Promise.all(Array.from({ length: 50 }, () => redis.incr('count')))
      expect(await redis.get('count')).toBe(50)
    })

    test('gives hashes as flat lists', async () => {
      await redis.hset('hash', { a: 'x', b: 'y' })
      expect((await post('/', ['HGETALL', 'hash'])).body).toEqual({ result: ['a', 'x', 'b', 'y'] })
      expect(await redis.hgetall('hash')).toEqual({ a: 'x', b: 'y' })
    })

    test('runs Lua, by source and by digest', async () => {
      await redis.del('tries')
      expect(await redis.eval(COUNT, ['tries'], [5000])).toEqual([1, expect.any(Number)])
      expect(await redis.eval(COUNT, ['tries'], [5000])).toEqual([2, expect.any(Number)])
      expect(await redis.eval(LOOP, [], ['a', 'b', 'c'])).toEqual(['a', 'b', 'c'])
      expect(await redis.eval("return redis.call('GET', KEYS[1])", ['nothing'], [])).toBeNull()

      const digest = await redis.scriptLoad('return ARGV[1]')
      expect(await redis.evalsha(digest, [], ['naïve'])).toBe('naïve')
      await expect(redis.evalsha('0'.repeat(40), [], [])).rejects.toThrow('NOSCRIPT')
      await expect(redis.eval('not Lua', [], [])).rejects.toThrow('ERR')
    })

    test('runs a pipeline in order; a failure stops nothing', async () => {
      expect(await redis.pipeline().set('step', 1).incr('step').get('step').exec()).toEqual(['OK', 2, 2])
      const { status, body } = await post('/pipeline', [
        ['SET', 'step', 'x'],
        ['INCR', 'step'],
        ['NOSUCH'],
        ['GET', 'step'],
      ])
      expect(status).toBe(200)
      expect(body).toEqual([
        { result: 'OK' },
        { error: expect.stringMatching(/^ERR value is not an integer/) },
        { error: expect.stringMatching(/^ERR unknown command/) },
        { result: 'x' },
      ])
    })

    test('runs a transaction whole, or not at all when a command is wrong', async () => {
      expect(await redis.multi().set('both', 'x').get('both').exec()).toEqual(['OK', 'x'])
      expect(await post('/multi-exec', [['SET', 'both', 'y'], ['NOSUCH']])).toEqual({
        status: 400,
        body: { error: expect.stringMatching(/^EXECABORT/) },
      })
      expect(await redis.get('both')).toBe('x')
    })

    test.each(['/', '/pipeline', '/multi-exec'])('asks for the token at %s', async (path) => {
      for (const authorization of ['', 'Bearer wrong', token, `bearer ${token}`]) {
        const { status, body } = await post(path, ['PING'], { authorization })
        expect(status).toBe(401)
        expect(body).toEqual({ error: expect.stringContaining('WRONGPASS') })
      }
    })

    test.each([
      ['/', ['NOSUCH', 'x'], /unknown command/],
      ['/', ['GET'], /wrong number of arguments/],
      ['/', ['SET', 'x', 'y', 'PX', 'soon'], /^ERR value is not an integer or out of range/],
      ['/', ['SET', 'x', 'y', 'PX', '1.5'], /^ERR value is not an integer or out of range/],
      ['/', ['SET', 'x', 'y', 'EX', '0'], /^ERR invalid expire time in 'set' command/],
      ['/', ['SET', 'x', 'y', 'px', '-1'], /^ERR invalid expire time in 'set' command/],
      ['/', ['SET', 'x', 'y', 'EX', '1', 'PX', '1000'], /^ERR syntax error/],
      ['/', ['SET', 'x', 'y', 'PX', '1000', 'EXAT', '9999999999'], /^ERR syntax error/],
      ['/', ['SET', 'x', 'y', 'NX', 'XX'], /^ERR syntax error/],
      ['/', ['SET', 'x', 'y', 'EX'], /^ERR syntax error/],
      ['/', ['SET', 'x', 'y', '10'], /^ERR syntax error/],
      ['/', ['SET', 'x', 'y', 'NEVER'], /^ERR syntax error/],
      ['/', ['INCRBY', 'x', 'many'], /^ERR value is not an integer or out of range/],
      ['/', ['EVALSHA', 'x', '0'], /^NOSCRIPT/],
      ['/', ['SUBSCRIBE', 'x'], /not available/],
      ['/', '{"cut":', /failed to parse/],
      ['/', '', /failed to parse/],
      ['/', {}, /failed to parse/],
      ['/', [], /failed to parse/],
      ['/', [['GET', 'x']], /failed to parse/],
      ['/', ['SET', 'x', null], /failed to parse/],
      ['/pipeline', ['GET', 'x'], /failed to parse/],
      ['/pipeline', [], /failed to parse/],
      ['/multi-exec', 'null', /failed to parse/],
    ])('refuses at %s: %j', async (path, body, reason) => {
      expect(await post(path, body)).toEqual({ status: 400, body: { error: expect.stringMatching(reason) } })
    })

    test.runIf(engine === 'server')('remembers across a restart', async () => {
      await redis.set('kept', 'yes')
      await upstash.close()
      upstash = await startUpstash({ token, engine, dir })
      redis = new Redis({ url: upstash.url, token })
      expect(await redis.get('kept')).toBe('yes')
    })
  })
}
