import { TaskManager } from '../../src/manager.js';
import type { EmbeddedManagerOptions } from '../../src/manager-options.js';
import type { Task } from '../../src/tasks/definition.js';
import type { Tasks } from '../../src/testing/index.js';
import type { EngineProcess } from './remote-engine.js';

/**
 * Makes three managers on one file that behave like one: the first enqueues, the second runs tasks
 * in this process, and the third reads and commands.
 */
export function threeManagers(
  options: EmbeddedManagerOptions,
  [enqueuing, showing]: readonly [EngineProcess, EngineProcess],
): Tasks {
  const {
    database = '',
    pollInterval,
    retentionDays: _days,
    retentionCount: _count,
    stats: _stats,
    ...rest
  } = options;
  const enqueues = new TaskManager({
    ...rest,
    engine: enqueuing.engine({ database, pollInterval: pollInterval ?? 0.25 }),
  });
  const runs = new TaskManager(options);
  const shows = new TaskManager({
    ...rest,
    engine: showing.engine({ database, pollInterval: pollInterval ?? 0.25 }),
  });
  const all = [enqueues, runs, shows];
  const run = new Map<string, unknown>();
  const facade: Record<string, unknown> = {
    task: (name: string, handler: never, settings: object) => {
      run.set(name, runs.task(name, handler, settings));
      return enqueues.define(name, settings);
    },
    define: (name: string, settings: object) => {
      const declared = runs.define(name, settings);
      const task = enqueues.define(name, settings);
      return { ...task, handle: (handler: never) => void declared.handle(handler) };
    },
    schedule: (name: string, task: Task<never>, rule: never) =>
      runs.schedule(
        name,
        (typeof task === 'function' ? task : run.get(task.name)) as Task<never>,
        rule,
      ),
    on: (status: never, listener: never) => {
      for (const each of all) each.on(status, listener);
    },
    start: async (how: { run?: boolean } = {}) => {
      await Promise.all([
        enqueues.start({ run: false }),
        runs.start(how),
        shows.start({ run: false }),
      ]);
    },
    stop: async (how: object) => {
      // The manager that runs tasks stops first, because its handlers may use the other two until
      // they end.
      await runs.stop(how);
      await Promise.all([enqueues.stop(how), shows.stop(how)]);
    },
    enqueue: enqueues.enqueue.bind(enqueues),
  };
  return new Proxy(shows, {
    get(target, key) {
      const own = facade[String(key)];
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
