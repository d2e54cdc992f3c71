import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { neverStarted } from '../src/lifecycle.js';
import { TaskManager } from '../src/manager.js';
import type { TaskManagerOptions } from '../src/manager-options.js';
import { testEngine } from '../src/testing/index.js';
import { dashboardRoutes } from '../src/web/dashboard-routes.js';
import { taskRoutes } from '../src/web/task-routes.js';
import { temporaryFolder } from './helpers/folder.js';
import { recordingLogger } from './helpers/logs.js';

const withCode = (code: string) => expect.objectContaining({ code });

describe('a TaskManager', () => {
  const made: TaskManager[] = [];
  const manager = (options?: TaskManagerOptions): TaskManager => {
    const tasks = new TaskManager(
      options?.engine
        ? { logger: false, ...options }
        : { logger: false, database: ':memory:', ...options },
    );
    made.push(tasks);
    return tasks;
  };
  afterEach(async () => {
    jest.useRealTimers();
    await Promise.all(made.splice(0).map((tasks) => tasks.stop({ timeout: 0.1 })));
  });

  describe('that was stopped', () => {
    it.each<[string, TaskManagerOptions]>([
      ['the embedded engine', {}],
      ['the test engine', { engine: testEngine() }],
    ])('rejects another start, with %s', async (_engine, options) => {
      const tasks = manager(options);
      await tasks.start();
      await tasks.stop();
      await expect(tasks.start()).rejects.toThrow(withCode('ENGINE_UNAVAILABLE'));
      await expect(tasks.start({ run: false })).rejects.toThrow(withCode('ENGINE_UNAVAILABLE'));
      await tasks.stop();
    });

    it('rejects its first start', async () => {
      const tasks = manager();
      await tasks.stop();
      await expect(tasks.start()).rejects.toThrow(withCode('ENGINE_UNAVAILABLE'));
    });
  });

  it.each([
    [{ run: false }, undefined],
    [undefined, { run: false }],
    [{ run: true }, { run: false }],
  ])(
    'that was started with %j rejects a start with %j and keeps its first mode',
    async (first, second) => {
      const tasks = manager();
      const work = tasks.task('work', () => 1);
      const [started, refused] = await Promise.allSettled([
        tasks.start(first),
        tasks.start(second),
      ]);
      expect([started.status, refused.status]).toEqual(['fulfilled', 'rejected']);
      await expect(tasks.start(second)).rejects.toThrow(withCode('INVALID_INPUT'));
      const id = await work.enqueue();
      const [worker] = await tasks.aggregate('workers');
      expect((worker?.slots ?? 0) > 0).toBe(first?.run !== false);
      expect(await tasks.get(id)).toBeDefined();
    },
  );

  it('starts once for repeated and simultaneous calls', async () => {
    const tasks = manager();
    const seen: unknown[] = [];
    const work = tasks.task('work', (n: number) => void seen.push(n));
    await Promise.all([tasks.start(), tasks.start({ run: true }), tasks.start({})]);
    await tasks.start();
    const ended = new Promise((resolve) => tasks.on('success', resolve));
    await work.enqueue(1);
    await ended;
    expect(seen).toEqual([1]);
    expect(await tasks.aggregate('workers')).toHaveLength(1);
  });

  it('accepts another start with other options after a failed start', async () => {
    const folder = temporaryFolder();
    const tasks = manager({ database: folder.file('missing/tasks.db') });
    await expect(tasks.start({ run: false })).rejects.toThrow(withCode('ENGINE_UNAVAILABLE'));
    await expect(tasks.start()).rejects.toThrow(withCode('ENGINE_UNAVAILABLE'));
    await tasks.stop();
    folder.remove();
  });

  describe('that is never started', () => {
    const uses: [name: string, use: (tasks: TaskManager) => unknown][] = [
      ['tasks are enqueued', (tasks) => tasks.define('work').enqueue()],
      ['tasks are enqueued together', (tasks) => tasks.define<[]>('work').enqueueMany([[], []])],
      ['prepared tasks are enqueued', (tasks) => tasks.enqueue([tasks.define('work').prepare()])],
      ['the dashboard is mounted', (tasks) => dashboardRoutes(tasks)],
      ['the API is mounted', (tasks) => taskRoutes(tasks)],
    ];

    /** Returns the warnings of a manager a few seconds after it was used. */
    async function warnings(
      options: TaskManagerOptions,
      use: (tasks: TaskManager) => unknown,
      seconds = 6,
    ): Promise<unknown[]> {
      const { logger, lines } = recordingLogger();
      jest.useFakeTimers({
        doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask', 'performance', 'Date'],
      });
      const tasks = manager({ logger, ...options });
      await use(tasks);
      await jest.advanceTimersByTimeAsync(seconds * 1000);
      jest.useRealTimers();
      return lines.filter(({ msg }) => msg === neverStarted).map(({ level }) => level);
    }

    it.each(uses)('warns after a few seconds if %s', async (_name, use) => {
      expect(await warnings({}, use)).toEqual([40]);
    });

    it('warns once, however often it is used', async () => {
      const often = async (tasks: TaskManager): Promise<void> => {
        const work = tasks.define('work');
        for (let n = 0; n < 3; n++) {
          taskRoutes(tasks);
          await work.enqueue();
          await jest.advanceTimersByTimeAsync(4000);
        }
      };
      expect(await warnings({}, often, 60)).toEqual([40]);
    });

    it.each(uses)('does not warn in the first seconds if %s', async (_name, use) => {
      expect(await warnings({}, use, 4)).toEqual([]);
    });

    it.each<[string, TaskManagerOptions, (tasks: TaskManager) => unknown]>([
      ['is only defined', {}, (tasks) => tasks.task('work', () => 1)],
      ['is read', {}, (tasks) => tasks.find()],
      [
        'was started a moment later',
        {},
        (tasks) =>
          tasks
            .define('work')
            .enqueue()
            .then(() => tasks.start()),
      ],
      [
        'was started on purpose without running tasks',
        {},
        (tasks) => [taskRoutes(tasks), tasks.start({ run: false })][1],
      ],
      ['was stopped', {}, (tasks) => [taskRoutes(tasks), tasks.stop()][1]],
      ['has the test engine', { engine: testEngine() }, (tasks) => tasks.define('work').enqueue()],
    ])('does not warn if it %s', async (_name, options, use) => {
      expect(await warnings(options, use, 60)).toEqual([]);
    });
  });
});
