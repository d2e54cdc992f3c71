import { afterEach, describe, expect, it } from '@jest/globals';
import { TaskManager, type TaskOptions } from '../../src/index.js';
import { recordingLogger } from '../helpers/logs.js';
import { waitFor } from '../helpers/wait.js';

let tasks: TaskManager | undefined;
afterEach(() => tasks?.stop({ timeout: 0 }));

/**
 * Runs two tasks that fail. Returns the number of attempts of each and the warnings in the log.
 */
async function failTwice(options: TaskOptions) {
  const log = recordingLogger();
  const manager = new TaskManager({ database: ':memory:', logger: log.logger });
  tasks = manager;
  const bad = manager.task(
    'bad',
    () => {
      throw new Error('no');
    },
    { retries: 1, ...options },
  );
  await manager.start();
  const ids = [await bad.enqueue(), await bad.enqueue()];
  await waitFor(async () => (await manager.aggregate('statsSnapshot')).counts.failed === 2);
  const attempts = await Promise.all(
    ids.map(async (id) => (await manager.get(id))?.attempts.length),
  );
  return { attempts, warnings: log.lines.filter(({ option }) => option !== undefined) };
}

describe('retryOn', () => {
  it.each<[string, unknown, string]>([
    ['1', 1, '1'],
    ["'yes'", 'yes', 'a string'],
    ['nothing', undefined, 'undefined'],
    ['a promise', Promise.resolve(true), 'a promise that is not awaited'],
    [
      'a promise that rejects',
      () => Promise.reject(new Error('late')),
      'a promise that is not awaited',
    ],
  ])(
    'that returns %s prevents retries and logs one warning for each task name',
    async (_case, answer, returned) => {
      const retryOn = (() =>
        typeof answer === 'function' ? (answer as () => unknown)() : answer) as () => boolean;
      const { attempts, warnings } = await failTwice({ retryOn });
      expect(attempts).toEqual([1, 1]);
      expect(warnings).toMatchObject([{ level: 40, task: 'bad', option: 'retryOn', returned }]);
    },
  );

  it.each<[string, unknown]>([
    ['an error class', TypeError],
    ['a class of the app', class Gone extends Error {}],
    ['an async function', async () => true],
    [
      'a generator function',
      function* () {
        yield true;
      },
    ],
    ['not a function', true],
  ])('is rejected in a definition if it is %s', (_case, retryOn) => {
    tasks = new TaskManager({ database: ':memory:', logger: false });
    expect(() => tasks?.task('bad', () => 1, { retryOn: retryOn as () => boolean })).toThrow(
      TypeError,
    );
  });
});

describe('backoff', () => {
  it.each<[string, () => unknown, string]>([
    ['NaN', () => Number.NaN, 'NaN'],
    ['a negative number', () => -1, '-1'],
    ['a string', () => '5', 'a string'],
    [
      'a promise that rejects',
      () => Promise.reject(new Error('late')),
      'a promise that is not awaited',
    ],
  ])(
    'that returns %s is replaced by the delay, with one warning for each task name',
    async (_case, backoff, returned) => {
      const { attempts, warnings } = await failTwice({
        delay: 0.01,
        backoff: backoff as () => number,
      });
      expect(attempts).toEqual([2, 2]);
      expect(warnings).toMatchObject([{ level: 40, task: 'bad', option: 'backoff', returned }]);
    },
  );

  it('logs one warning if it returns milliseconds', async () => {
    const { warnings } = await failTwice({ maxDelay: 0.01, backoff: () => 30_000 });
    expect(warnings).toMatchObject([
      { level: 40, option: "backoff of task 'bad'", seconds: 30_000 },
    ]);
  });

  it('is rejected in a definition if it is an async function', () => {
    tasks = new TaskManager({ database: ':memory:', logger: false });
    expect(() =>
      tasks?.task('bad', () => 1, { backoff: (async () => 1) as unknown as () => number }),
    ).toThrow(TypeError);
  });
});
