import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Redis } from 'ioredis';
import { bullmqEngine } from '../../../../src/engines/bullmq/index.js';
import { engineKeys } from '../../../../src/engines/bullmq/keys.js';
import { EngineSource } from '../../../../src/engines/bullmq/read/job-source.js';
import { TaskManager } from '../../../../src/index.js';
import { closeAfterEach } from '../../../helpers/closing.js';
import { hasRedis, RedisServer } from '../../../helpers/redis.js';
import { monitorRedis } from '../../../helpers/redis-monitor.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

let redis: RedisServer;
let client: Redis;
let prefixes = 0;
const keep = closeAfterEach();

function manager(prefix: string): TaskManager {
  const tasks = new TaskManager({
    engine: bullmqEngine({ connection: redis.connection, prefix, logger: false }),
    logger: false,
  });
  keep({ close: () => tasks.stop({ timeout: 1 }) });
  return tasks;
}

const newPrefix = (): string => `notes-${prefixes++}`;

(hasRedis ? describe : describe.skip)('change notes', () => {
  beforeAll(async () => {
    redis = await RedisServer.start();
    client = new Redis(redis.connection);
  });
  afterAll(async () => {
    client.disconnect();
    await redis.remove();
  });

  it('are not written while no process reads', async () => {
    const prefix = newPrefix();
    const tasks = manager(prefix);
    let calls = 0;
    const count = tasks.task('count', () => {
      calls += 1;
    });
    await tasks.start();
    const began = performance.now();
    const monitor = keep(await monitorRedis(redis.port));
    for (let n = 0; n < 300; n++) await count.enqueue();
    await waitFor(() => calls === 300);
    const { changes, reading } = engineKeys(prefix);
    const sent = (command: string, key: string): number =>
      monitor.commands().filter(([name, target]) => name === command && target === key).length;
    // Until Redis answers whether a process reads, the process writes the notes of about one task.
    expect(sent('xadd', changes)).toBeLessThan(4 * sent('get', reading) + 50);
    // Callers and workers have a connection each, and each asks at most every 50 ms.
    expect(sent('get', reading)).toBeLessThan((2 * (performance.now() - began)) / 50 + 4);
  });

  it('cover every task after a process begins to read', async () => {
    const prefix = newPrefix();
    const [producer, reader] = [manager(prefix), manager(prefix)];
    const task = producer.task('count', () => {});
    await producer.start({ run: false });
    const ids: string[] = [];
    let isOver = false;
    const producing = (async () => {
      while (!isOver) {
        ids.push(await task.enqueue());
        await new Promise(setImmediate);
      }
    })();
    await sleep(0.2);
    const before = ids.length;
    await reader.find({ limit: 1 });
    await waitFor(() => ids.length - before > 50);
    isOver = true;
    await producing;
    const found = new Set<string>();
    let cursor: string | undefined;
    do {
      const page = await reader.find({ limit: 100, cursor });
      for (const { id } of page.items) found.add(id);
      cursor = page.nextCursor ?? undefined;
    } while (cursor && found.size < ids.length - before);
    expect(ids.slice(before).filter((id) => !found.has(id))).toEqual([]);
  });

  it('are replaced by a comparison if the read mark was removed', async () => {
    const prefix = newPrefix();
    const [producer, reader] = [manager(prefix), manager(prefix)];
    const task = producer.task('count', () => {});
    await producer.start({ run: false });
    await reader.find({ limit: 1 });
    const mark = engineKeys(prefix).reading;
    expect(await client.pttl(mark)).toBeGreaterThan(5000);
    await client.del(mark);
    let last = '';
    for (const end = performance.now() + 200; performance.now() < end; )
      last = await task.enqueue();
    const newest = async (): Promise<unknown> => (await reader.find({ limit: 1 })).items[0]?.id;
    await waitFor(async () => (await newest()) === last);
    await waitFor(async () => (await client.exists(mark)) === 1);
    await sleep(0.1);
    const id = await task.enqueue();
    expect(await newest()).toBe(id);
  });

  it('are reread by a process that was blocked until its mark expired', async () => {
    const prefix = newPrefix();
    const [producer, reader] = [manager(prefix), manager(prefix)];
    const task = producer.task('count', () => {});
    await producer.start({ run: false });
    await reader.find({ limit: 1 });
    await client.del(engineKeys(prefix).reading);
    let last = '';
    for (const end = performance.now() + 200; performance.now() < end; )
      last = await task.enqueue();
    const now = performance.now.bind(performance);
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => now() + 11_000);
    try {
      expect((await reader.find({ limit: 1 })).items[0]?.id).toBe(last);
    } finally {
      clock.mockRestore();
    }
  });

  it('are reread by a process that could not write its mark to a full Redis', async () => {
    const source = new EngineSource(client, engineKeys(newPrefix()));
    await source.start();
    const now = performance.now.bind(performance);
    const clock = jest.spyOn(performance, 'now').mockImplementation(() => now() + 4000);
    try {
      await client.config('SET', 'maxmemory', '1');
      expect(await source.ask([])).toMatchObject({ missed: false });
      await client.config('SET', 'maxmemory', '0');
      await source.ask([]);
      expect(await source.ask([])).toMatchObject({ missed: true });
      await source.start();
      expect(await source.ask([])).toMatchObject({ missed: false });
    } finally {
      await client.config('SET', 'maxmemory', '0');
      clock.mockRestore();
    }
  });
});
