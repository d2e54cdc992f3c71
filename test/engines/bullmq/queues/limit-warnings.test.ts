import { beforeEach, describe, expect, it } from '@jest/globals';
import { bullmqEngine } from '../../../../src/engines/bullmq/engine.js';
import { TaskManager } from '../../../../src/manager.js';
import { recordingLogger } from '../../../helpers/logs.js';
import { hasRedis, RedisForEach } from '../../../helpers/redis.js';
import { sleep, waitFor } from '../../../helpers/wait.js';

(hasRedis ? describe : describe.skip)('a concurrency that differs between processes', () => {
  const forEach = new RedisForEach();
  let log: ReturnType<typeof recordingLogger>;
  const warnings = () =>
    log.lines.filter(({ level, concurrency }) => level === 40 && concurrency !== undefined);

  beforeEach(() => {
    log = recordingLogger();
  });

  function manager(logger: ReturnType<typeof recordingLogger>['logger'] | false): TaskManager {
    const tasks = new TaskManager({
      engine: bullmqEngine({ connection: forEach.redis.connection, logger }),
      logger: false,
    });
    forEach.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
    return tasks;
  }

  it('is logged once by the process that enqueues, with both values', async () => {
    const [one, other] = [manager(false), manager(log.logger)];
    await one.define('work', { concurrency: 2 }).enqueue();
    const work = other.define('work', { concurrency: 5 });
    await work.enqueue();
    await one.define('more').enqueue();
    await work.enqueue();
    expect(warnings()).toMatchObject([
      { task: 'work', queue: 'default', concurrency: 5, stored: 2 },
    ]);
  });

  it('is logged once by the worker, with both values', async () => {
    const [web, worker] = [manager(false), manager(log.logger)];
    await web.define('work', { concurrency: 2 }).enqueue();
    worker.task('work', () => 1, { concurrency: 5 });
    await worker.start();
    await waitFor(() => warnings().length > 0);
    await sleep(1.2);
    expect(warnings()).toMatchObject([
      { task: 'work', queue: 'default', concurrency: 5, stored: 2 },
    ]);
  });

  it('is logged once by the worker if the process that enqueues defines none', async () => {
    const [web, worker] = [manager(false), manager(log.logger)];
    const ids = await web.define('work').enqueueMany([[], [], []]);
    worker.task('work', () => 1, { concurrency: 5 });
    await worker.start();
    await waitFor(async () =>
      (await Promise.all(ids.map((id) => web.get(id)))).every((task) => task?.status === 'success'),
    );
    expect(warnings()).toMatchObject([{ task: 'work', concurrency: 5, stored: null }]);
  });

  it('is not logged if the value is the same everywhere or absent', async () => {
    const [web, worker] = [manager(log.logger), manager(log.logger)];
    const ids = [
      await web.define('work', { concurrency: 2 }).enqueue(),
      await web.define('free').enqueue(),
    ];
    worker.task('work', () => 1, { concurrency: 2 });
    worker.task('free', () => 1);
    await worker.start();
    await waitFor(async () =>
      (await Promise.all(ids.map((id) => web.get(id)))).every((task) => task?.status === 'success'),
    );
    expect(warnings()).toEqual([]);
  });
});
