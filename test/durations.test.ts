import { describe, expect, it } from '@jest/globals';
import { createAuth, StrategyRegistry, staticUser, TaskManager } from '../src/index.js';
import { recordingLogger } from './helpers/logs.js';
import { errorOf, namesOf } from './helpers/mistakes.js';

const secretKey = 'a key of 32 characters or more: 0123456789';
const noop = () => 1;

function manager(options: object = {}) {
  const log = recordingLogger();
  const tasks = new TaskManager({ database: ':memory:', logger: log.logger, ...options });
  return {
    tasks,
    warned: () =>
      log.lines
        .filter(({ seconds }) => seconds !== undefined)
        .map(({ option, seconds }) => [option, seconds]),
  };
}

/** The options of a function that are a number of seconds, as its errors say. */
function durationsOf(call: (options: object) => unknown): string[] {
  const durations = namesOf(call).filter((name) =>
    errorOf(() => call({ [name]: -1 }))?.message.includes('must be a number of seconds'),
  );
  expect(durations.length).toBeGreaterThan(0);
  return durations;
}
const login = (options: object) =>
  createAuth({ strategies: ['admin', 'correct horse battery'], secretKey, ...options });

describe('a duration that looks like milliseconds', () => {
  it.each<[string, (value: number) => (string | number)[][]]>([
    ...durationsOf((options) => manager().tasks.task('a', noop, options)).map(
      (option): [string, (value: number) => (string | number)[][]] => [
        `${option} of task 'a'`,
        (value) => {
          const { tasks, warned } = manager();
          tasks.task('a', noop, { [option]: value });
          return warned() as (string | number)[][];
        },
      ],
    ),
    ...durationsOf((options) => manager().tasks.task('a', noop).with(options)).map(
      (option): [string, (value: number) => (string | number)[][]] => [
        `${option} of task 'a'`,
        (value) => {
          const { tasks, warned } = manager();
          const task = tasks.task('a', noop);
          for (let n = 0; n < 3; n++)
            task.with({
              [option]: value,
              ...(option === 'idempotencyWindow' && { idempotencyKey: 'k' }),
            });
          return warned() as (string | number)[][];
        },
      ],
    ),
    [
      "every of schedule 'a'",
      (value) => {
        const { tasks, warned } = manager();
        tasks.schedule('a', noop, { every: value });
        return warned() as (string | number)[][];
      },
    ],
    ...durationsOf(manager).map((option): [string, (value: number) => (string | number)[][]] => [
      option,
      (value) => manager({ [option]: value }).warned() as (string | number)[][],
    ]),
    ...durationsOf(login).map((option): [string, (value: number) => (string | number)[][]] => [
      option,
      (value) => {
        const log = recordingLogger();
        login({ logger: log.logger, [option]: value });
        return log.lines
          .filter(({ seconds }) => seconds !== undefined)
          .map(({ option: name, seconds }) => [String(name), Number(seconds)]);
      },
    ]),
    [
      'timeLimit',
      (value) => {
        const log = recordingLogger();
        const strategies = new StrategyRegistry({ timeLimit: value }).register(
          'a',
          staticUser('admin', 'correct horse battery'),
        );
        createAuth({ strategies, secretKey, logger: log.logger });
        return log.lines
          .filter(({ seconds }) => seconds !== undefined)
          .map(({ option: name, seconds }) => [String(name), Number(seconds)]);
      },
    ],
  ])('is accepted with one warning: %s', (option, use) => {
    for (const value of [10_000, 30_000, 3_600_000]) expect(use(value)).toEqual([[option, value]]);
    for (const value of [9000, 30_500, 36_000, 86_400, 604_800, 2_592_000])
      expect(use(value)).toEqual([]);
  });

  it('causes a warning as the timeout of stop()', async () => {
    const { tasks, warned } = manager();
    await tasks.stop({ timeout: 10_000 });
    expect(warned()).toEqual([['timeout of stop()', 10_000]]);
  });

  it('is rejected if the option cannot be that large', () => {
    expect(() =>
      createAuth({
        strategies: ['admin', 'correct horse battery'],
        secretKey,
        logger: false,
        throttle: { floor: 300 },
      }),
    ).toThrow(RangeError);
  });
});
