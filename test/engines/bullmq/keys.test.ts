import { describe, expect, it } from '@jest/globals';
import { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import { bullmqEngine } from '../../../src/engines/bullmq/engine.js';
import { moveToRedis } from '../../../src/engines/bullmq/move/move.js';
import { TaskManager } from '../../../src/manager.js';
import { taskLog, taskProgress } from '../../../src/tasks/context.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { startScript } from '../../helpers/process.js';
import { hasRedis, RedisForEach } from '../../helpers/redis.js';
import { sleep, waitFor } from '../../helpers/wait.js';

const by = { actor: 'test', reason: 'to fill Redis' };
const kept = 40;
const uuid = '[0-9a-f-]{36}';
/** Streams are trimmed by whole nodes of 100 entries. */
const slack = 200;

/** What bounds a key: resolves to whether it is within that bound. */
type Bound = (redis: Redis, key: string) => Promise<boolean>;

const expires: Bound = async (redis, key) => (await redis.pttl(key)) > 0;
const atMost =
  (n: number): Bound =>
  async (redis, key) => {
    const counts = {
      hash: 'hlen',
      zset: 'zcard',
      list: 'llen',
      stream: 'xlen',
      string: 'strlen',
      set: 'scard',
    } as const;
    const kind = (await redis.type(key)) as keyof typeof counts | 'none';
    return kind === 'none' || (await redis[counts[kind]](key)) <= n;
  };
/** A job exists while it is in a set of its queue. Each set is bounded or holds unfinished jobs. */
const jobInSet: Bound = async (redis, key) => {
  const at = key.indexOf(':', key.indexOf('}:') + 2);
  const [queue, id] = [key.slice(0, at), key.slice(at + 1).replace(/:logs$/, '')];
  const sets = ['completed', 'failed', 'delayed', 'prioritized'].map((set) =>
    redis.zscore(`${queue}:${set}`, id),
  );
  const lists = ['wait', 'active'].map((list) => redis.lpos(`${queue}:${list}`, id));
  return (await Promise.all([...sets, ...lists])).some((found) => found !== null);
};

/** The bound of every key under the prefix, without `{prefix}:`. A key without a bound fails. */
const bounds: [key: string, bound: Bound, why: string][] = [
  [
    '~queues',
    atMost(10),
    'one field for each of at most 100 labels, and for each task with a concurrency',
  ],
  ['~changes', atMost(10_000 + slack), 'capped'],
  ['~signals', atMost(1), 'the last signal'],
  ['~cancelling', atMost(0), 'one field for each running task that is to be cancelled'],
  ['~instances', atMost(0), 'one field for each running process'],
  ['~settling', expires, 'time to live'],
  ['~cleaning', expires, 'time to live'],
  ['~forgetting', expires, 'time to live'],
  ['~probe', expires, 'time to live'],
  ['~reading', expires, 'time to live'],
  ['~data', atMost(64), 'one short text'],
  ['~pauses', atMost(3), 'one field for each paused queue'],
  ['~stats:(minute|hour|day):\\d+', expires, 'time to live'],
  ['~stats:all:0', atMost(20), 'one field for each task and queue'],
  ['~merged:[0-9a-f-]{36}', expires, 'time to live'],
  ['~failures', atMost(1000), 'the 1,000 groups seen last'],
  ['~failure-times', atMost(1000), 'the 1,000 groups seen last'],
  ['~schedules', atMost(5), 'one field for each schedule'],
  ['~schedule-states', atMost(25), 'five fields for each schedule'],
  ['~moved', atMost(20), 'the steps of one move'],
  [
    '~(cancelled|interrupted):[^:]+',
    atMost(2 * kept),
    'jobs in the set of failed ones; Retention drops the others',
  ],
  ['~ticks:repeat', atMost(5), 'one member for each schedule'],
  ['~ticks:repeat:[^:]+(:\\d+)?', atMost(20), 'a schedule, and its next tick'],
  ['[^:]+:(meta|id|pc|limiter|marker|stalled|stalled-check)', atMost(20), 'one key of each queue'],
  ['[^:]+:events', atMost(1000 + slack), 'capped'],
  ['[^:]+:(completed|failed)', atMost(kept), 'retentionCount'],
  ['[^:]+:(wait|active|delayed|prioritized|paused)', atMost(60), 'what is to be done'],
  [`[^:]+:${uuid}:lock`, expires, 'time to live'],
  [`[^:]+:${uuid}(:logs)?`, jobInSet, 'kept with its job'],
  ['[^:]+:de:.+', expires, 'idempotencyWindow'],
  ['value:.+', expires, 'time to live'],
  ['(index|expiry)', atMost(10), 'one member for each value'],
  ['changes', atMost(10_000 + slack), 'capped'],
  ['serial', atMost(20), 'one number'],
  ['owners', atMost(20), 'one field for each login'],
  ['log:[^:]+', atMost(1_000_000 + slack), 'capped'],
];

async function keysOf(redis: Redis): Promise<string[]> {
  const keys: string[] = [];
  for (let cursor = '0'; ; ) {
    const [next, some] = await redis.scan(cursor, 'COUNT', 1000);
    keys.push(...some);
    if (next === '0') return [...new Set(keys)].sort();
    cursor = next;
  }
}

(hasRedis ? describe : describe.skip)('the keys of an engine in Redis', () => {
  const forEach = new RedisForEach();

  it('are all bounded by a time to live, a length or the retention', async () => {
    const { client, redis } = forEach;
    const prefix = 'bounded';
    await moveOneFile(redis.connection, prefix);
    const engines = [1, 2].map(() =>
      bullmqEngine({ connection: redis.connection, prefix, logger: false, retentionCount: kept }),
    );
    const [tasks, other] = engines.map((engine) => new TaskManager({ engine, logger: false })) as [
      TaskManager,
      TaskManager,
    ];
    const good = tasks.task('good', (n: number) => {
      taskLog('working', { n });
      taskProgress(0.5, 'half');
      return n;
    });
    const bad = tasks.task('bad', (n: number) => {
      throw Object.assign(new Error('bad'), {
        name: `Error${String.fromCharCode(...`${n}`.split('').map((digit) => 65 + Number(digit)))}`,
      });
    });
    const again = tasks.task('again', () => Promise.reject(new Error('again')), {
      retries: 2,
      delay: 0.05,
    });
    const slow = tasks.task('slow', () => new Promise(() => undefined), { cancelGrace: 0.1 });
    const limited = tasks.task('limited', (n: number) => n, {
      concurrency: 2,
      queue: 'apart',
      priority: 3,
    });
    tasks.schedule('often', () => 1, { every: 0.1, overlap: true });
    tasks.schedule('nightly', () => 1, { cron: '0 3 * * *' });
    await overfill(client, prefix);
    await Promise.all([tasks.start(), other.start({ run: false })]);

    await good.enqueueMany(Array.from({ length: 400 }, (_, n): [number] => [n]));
    await bad.enqueueMany(Array.from({ length: 1200 }, (_, n): [number] => [n]));
    await Promise.all([
      again.enqueue(),
      ...[1, 2, 3].map((n) => limited.enqueue(n)),
      good.with({ idempotencyKey: 'one' }).enqueue(1),
    ]);
    const delayed = await good
      .with({ runIn: 60 })
      .enqueueMany(Array.from({ length: 20 }, (_, n): [number] => [n]));
    await tasks.control({ action: 'cancel', ids: delayed.slice(0, 15) }, by);
    await tasks.control({ action: 'retry', ids: delayed.slice(0, 3) }, by);
    await tasks.control({ action: 'rerun', ids: delayed.slice(4, 6) }, by);
    await tasks.control({ action: 'delete', ids: delayed.slice(8, 10) }, by);
    const [running, interrupted] = [await slow.enqueue(), await slow.enqueue()];
    const isRunning = async (id: string): Promise<boolean> =>
      (await tasks.get(id))?.status === 'running';
    await waitFor(async () => (await isRunning(running)) && (await isRunning(interrupted)), 20);
    await other.control({ action: 'cancel', ids: [running] }, by);
    await waitFor(async () => (await tasks.get(running))?.status === 'cancelled');
    await tasks.control({ action: 'pause', queue: 'apart' }, by);
    await tasks.control({ action: 'pause', queue: 'none yet' }, by);
    await tasks.control({ action: 'pause', schedule: 'nightly' }, by);
    await limited.enqueue(4);
    await other.store.set('session:1', { user: 'ada' }, 3600);
    await other.store.increment('throttle:1', 60);
    await other.store.append('audit', { action: 'test' }, 3600);
    await Promise.all([
      tasks.find(),
      other.find({ q: 'bad' }),
      other.aggregate('failures', { limit: 10 }),
      other.aggregate('metrics', {}),
    ]);
    await waitFor(
      async () =>
        (await tasks.aggregate('failures', { limit: 1 })).items.length > 0 &&
        !(await isWaiting(tasks, 'bad')),
      30,
    );
    await sleep(1.2);
    await Promise.all([tasks.stop({ timeout: 0.1 }), other.stop()]);
    const plain = new Queue('default', { connection: redis.connection, prefix: `{${prefix}}` });
    expect((await plain.getJobCounts('completed', 'failed')).failed).toBeGreaterThan(0);
    await plain.close();

    const keys = await keysOf(client);
    const start = `{${prefix}}:`;
    const unbounded: string[] = [];
    const used = new Set<string>();
    for (const key of keys) {
      const rule = bounds.find(
        ([pattern]) =>
          key.startsWith(start) &&
          new RegExp(`^(?:${pattern})$`, 's').test(key.slice(start.length)),
      );
      if (!rule) unbounded.push(`${key}: not in the list`);
      else {
        used.add(rule[0]);
        // A key that expires while this runs was bounded.
        if (!(await rule[1](client, key)) && (await client.exists(key)) === 1)
          unbounded.push(`${key}: not bounded by: ${rule[2]}`);
      }
    }
    expect(unbounded).toEqual([]);
    // Each of these patterns must occur, because the test proves nothing about a missing key.
    for (const pattern of [
      '~changes',
      '~failures',
      '~pauses',
      '~moved',
      '~stats:all:0',
      '~(cancelled|interrupted):[^:]+',
      'value:.+',
    ])
      expect(used).toContain(pattern);
    expect(await client.hlen(`${start}~failures`)).toBe(1000);
  });
});

/** Fills the capped streams beyond their limit. The next entry of the engine must trim them. */
async function overfill(client: Redis, prefix: string): Promise<void> {
  const filling = client.pipeline();
  for (let n = 0; n < 12_000; n++)
    for (const name of ['~changes', 'changes'])
      filling.xadd(`{${prefix}}:${name}`, '*', 'filled', n);
  await filling.exec();
}

async function isWaiting(tasks: TaskManager, name: string): Promise<boolean> {
  return (await tasks.find({ name, status: ['pending', 'running'], limit: 1 })).items.length > 0;
}

async function moveOneFile(
  connection: { host: string; port: number },
  prefix: string,
): Promise<void> {
  const folder = temporaryFolder();
  const file = folder.file('tasks.db');
  expect(await startScript('fill.js', file, '10').ended).toBe(0);
  await moveToRedis({ from: file, to: connection, prefix });
  folder.remove();
}
