import { afterAll, describe, expect, it } from '@jest/globals';
import { createAuth, TaskManager } from '../../src/index.js';

/*
 * What people do wrong in their first hour. Each mistake must end at once, with an error that names
 * the option or the argument and what is accepted.
 */

/**
 * What was done wrong, and the error that says so: its name, its code, and what its message names.
 */
export type Mistake = [
  mistake: string,
  make: () => unknown,
  name: string,
  code: string,
  names: RegExp,
];

/** Passes what the types would refuse: many apps are JavaScript. */
export function wrong<T>(value: unknown): T {
  return value as T;
}

const made: TaskManager[] = [];

/** A manager that is stopped after the tests of the file. */
export function manager(options: object = {}): TaskManager {
  const tasks = new TaskManager({ database: ':memory:', logger: false, ...options });
  made.push(tasks);
  return tasks;
}

/** A task that takes any arguments. */
export const loose = () => manager().task('send', (..._args: never[]) => 1);
export const noop = (): number => 1;
export const send = (options?: object) => manager().task('send', noop, options);
export const by = { actor: 'ada' };
export const user: [string, string] = ['admin', 'correct horse battery'];
export const secretKey = 'abcdefghijklmnopqrstuvwxyz0123456789';
export const login = (options: object) =>
  createAuth({ strategies: user, secretKey, logger: false, ...options });

/** Declares a test of each mistake. */
export function describeMistakes(part: string, mistakes: readonly Mistake[]): void {
  afterAll(() => Promise.all(made.splice(0).map((tasks) => tasks.stop({ timeout: 0 }))));

  describe(`a usual mistake with ${part}`, () => {
    it.each([...mistakes])('%s', async (_mistake, make, name, code, names) => {
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
