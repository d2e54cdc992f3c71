import { expect, it } from '@jest/globals';
import { limitedStore } from '../../src/auth/time-limit.js';
import { memoryStore } from '../../src/store/memory-store.js';
import { startScript } from '../helpers/process.js';

it('ends every call for a request with STORE_UNAVAILABLE if the store hangs', async () => {
  const never = (): Promise<never> => new Promise(() => {});
  const names = Object.keys(memoryStore()).filter((name) => !['append', 'watch'].includes(name));
  const hanging = Object.fromEntries(names.map((name) => [name, never]));
  const store = limitedStore({ ...memoryStore(), ...hanging, claim: () => never });
  const calls: [string, (...args: never[]) => unknown][] = [
    ...names.map((name): [string, () => unknown] => [name, Reflect.get(store, name)]),
    ['owner', store.claim?.('/tasks', []) ?? (() => undefined)],
  ];
  const errors = await Promise.all(
    calls.map(async ([name, call]) => {
      const error: unknown = await Promise.resolve(call()).catch((thrown: unknown) => thrown);
      const { code, maybeDone } = error as { code?: unknown; maybeDone?: unknown };
      return [name, code, maybeDone];
    }),
  );
  // A write may have reached the store, so its caller must not assume that nothing was done.
  const writes = ['set', 'replace', 'increment'];
  expect(errors).toEqual(calls.map(([name]) => [name, 'STORE_UNAVAILABLE', writes.includes(name)]));
});

it('lets a process end whose server has closed, while calls and a failed login wait', async () => {
  const child = startScript('dropped-login.js');
  const code = await child.ended;
  expect([code, child.lines]).toEqual([0, [expect.stringMatching(/^\d+$/)]]);
  // Usually some milliseconds. The delay of the failed login alone would take ten seconds.
  expect(Number(child.lines[0])).toBeLessThan(5000);
});
