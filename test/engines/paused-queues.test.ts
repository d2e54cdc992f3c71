import { afterEach, describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../src/manager.js';
import { hasRedis, RedisForEach } from '../helpers/redis.js';

const by = { actor: 'test' };
const most = 1000;

function describePauses(create: () => TaskManager): void {
  let tasks: TaskManager;
  const pausedNames = async (): Promise<string[]> =>
    (await tasks.describe()).queues.flatMap(({ name, paused }) => (paused ? [name] : []));
  const pause = (queue: string): Promise<unknown> => tasks.control({ action: 'pause', queue }, by);
  const resume = (queue: string): Promise<unknown> =>
    tasks.control({ action: 'resume', queue }, by);
  afterEach(() => tasks.stop({ timeout: 0 }));

  it('are limited to 1,000 before a name that has no tasks is refused', async () => {
    tasks = create();
    await tasks.start({ run: false });
    const first = tasks.define('first');
    await first.with({ queue: 'used' }).enqueue();
    const names = Array.from({ length: most }, (_, n) => `unused ${n}`);
    await Promise.all(names.map(pause));
    const refused = { code: 'INVALID_INPUT', message: expect.stringMatching(/'one more'.*1,000/) };
    await expect(pause('one more')).rejects.toMatchObject(refused);
    await Promise.all([pause('used'), pause('unused 7'), resume('never paused')]);
    await expect(pause('one more')).rejects.toMatchObject(refused);
    expect((await pausedNames()).sort()).toEqual([...names, 'used'].sort());
    await resume('unused 7');
    await resume('unused 8');
    await pause('one more');
    await first.with({ queue: 'one more' }).enqueue();
    expect((await pausedNames()).filter((name) => !name.startsWith('unused'))).toEqual([
      'one more',
      'used',
    ]);
  });
}

describe('the pauses of queues in a file', () => {
  describePauses(() => new TaskManager({ database: ':memory:', logger: false }));
});

(hasRedis ? describe : describe.skip)('the pauses of queues on Redis', () => {
  const forEach = new RedisForEach();
  describePauses(
    () =>
      new TaskManager({
        engine: bullmqEngine({ connection: forEach.redis.connection, logger: false }),
        logger: false,
      }),
  );
});
