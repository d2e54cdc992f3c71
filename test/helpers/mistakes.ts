import { afterAll, describe, expect, it } from '@jest/globals';
import { createAuth, TaskManager } from '../../src/index.js';

/*
 * Common mistakes of new users. Each mistake must cause an error at once. The error names the
 * option or the argument, and what is accepted.
 */

/**
 * A mistake, a function that makes it, and the expected error: its name, its code and a pattern for
 * its message.
 */
export type Mistake = [
  mistake: string,
  make: () => unknown,
  name: string,
  code: string,
  names: RegExp,
];

/** Passes a value that the types would reject, because many apps are written in JavaScript. */
export function wrong<T>(value: unknown): T {
  return value as T;
}

const made: TaskManager[] = [];

/** Stops every manager that `manager` made. */
export const closeManagers = (): Promise<unknown> =>
  Promise.all(made.splice(0).map((tasks) => tasks.stop({ timeout: 0 })));

/** Makes a manager that is stopped after the tests of the file. */
export function manager(options: object = {}): TaskManager {
  const tasks = new TaskManager({ database: ':memory:', logger: false, ...options });
  made.push(tasks);
  return tasks;
}

/** Makes a task that accepts any arguments. */
export const loose = () => manager().task('send', (..._args: never[]) => 1);
export const noop = (): number => 1;
export const send = (options?: object) => manager().task('send', noop, options);
export const by = { actor: 'ada' };
export const user: [string, string] = ['admin', 'correct horse battery'];
export const secretKey = 'abcdefghijklmnopqrstuvwxyz0123456789';
export const login = (options: object) =>
  createAuth({ strategies: user, secretKey, logger: false, ...options });

/** Calls a function, and returns the error that it throws at once. */
export function errorOf(call: () => unknown): (Error & { code?: unknown }) | undefined {
  try {
    call();
  } catch (error) {
    return error as Error;
  }
  return undefined;
}

/** The options of a function, as its error for an unknown option lists them. */
export function namesOf(call: (options: never) => unknown): string[] {
  const { message = '' } = errorOf(() => call({ nope: 1 } as never)) ?? {};
  return message.split('Its options: ')[1]?.split(', ') ?? [];
}

/** Declares a test for each mistake. */
export function describeMistakes(part: string, mistakes: readonly Mistake[]): void {
  afterAll(closeManagers);

  describe(`a common mistake with ${part}`, () => {
    it.each([...mistakes])('is rejected: %s', async (_mistake, make, name, code, names) => {
      const error = await Promise.resolve()
        .then(make)
        .then(
          () => new Error('nothing was thrown'),
          (thrown: Error) => thrown,
        );
      expect([error.name, String((error as { code?: unknown }).code)]).toEqual([name, code]);
      expect(error.message).toMatch(names);
      expect(error.message).not.toMatch(/Pa55|5555|undefined is not|Cannot read/);
      expect(error.message.length).toBeLessThan(450);
    });
  });
}
