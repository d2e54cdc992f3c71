import { describe, expect, it } from '@jest/globals';
import { type BulkDeps, commandTasks } from '../../src/engines/bulk.js';
import { JobEngine } from '../../src/engines/bullmq/job-engine.js';
import { TaskflowError } from '../../src/errors.js';
import { TaskManager } from '../../src/manager.js';
import { loggerOption } from '../../src/options.js';
import { maxByFilter } from '../../src/tasks/commands.js';
import { hasRedis, RedisForEach } from '../helpers/redis.js';

(hasRedis ? describe : describe.skip)(
  'a command by filter to more tasks than a process keeps in memory',
  () => {
    const forEach = new RedisForEach();

    it('reports that it covers only the newest tasks, even at the maximum', async () => {
      const pending = maxByFilter + 100;
      const engine = new JobEngine({
        ...{
          connection: forEach.redis.connection,
          prefix: 'bulk',
          logger: loggerOption('logger', false),
        },
        ...{
          lockDuration: 20_000,
          kept: { age: 3600, count: 1000 },
          statistics: { minutes: 3_600_000, hours: 3_600_000 },
        },
        window: { ended: 1000, pending },
      });
      const tasks = new TaskManager({ engine, logger: false });
      forEach.keep({ close: () => tasks.stop({ timeout: 0.1 }) });
      const work = tasks.define('work');
      for (let n = 0; n < 3; n++)
        await work.enqueueMany(Array.from({ length: 4000 }, () => [] as []));
      const by = { actor: 'test', dryRun: true };
      const outcome = await tasks.control({ action: 'cancel', filter: { name: 'work' } }, by);
      expect(outcome).toMatchObject({ found: { relation: 'gte' }, scope: 'window' });
      expect(outcome.results).toHaveLength(maxByFilter);
      // A filter that the sets of BullMQ can answer covers all tasks.
      const all = await tasks.control({ action: 'cancel', filter: { status: ['pending'] } }, by);
      expect({ found: all.found, scope: all.scope }).toEqual({
        found: { count: 12_000, relation: 'eq' },
        scope: undefined,
      });
    });
  },
);

describe('a command to many tasks if the engine becomes unavailable', () => {
  it.each([
    ['has no effect if its first step fails', 0, false],
    ['may have an effect if a later step fails', 1, true],
  ])('%s', async (_behaviour, done, maybeDone) => {
    let steps = 0;
    const act: BulkDeps['act'] = async (_command, ids) => {
      if (steps === done) throw new TaskflowError('ENGINE_UNAVAILABLE', 'gone');
      steps += 1;
      return ids.map((id) => ({ id, ok: false, code: 'TASK_NOT_FOUND' }));
    };
    const ids = Array.from({ length: 1000 }, (_, n) => `id-${n}`);
    const failing = commandTasks({ act } as BulkDeps, { action: 'cancel', ids }, { actor: 'test' });
    await expect(failing).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE', maybeDone });
  });
});
