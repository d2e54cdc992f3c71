import { expect, it } from '@jest/globals';
import { limitedStore } from '../../src/auth/time-limit.js';
import { memoryStore } from '../../src/store/memory-store.js';

it('ends every call for a request with STORE_UNAVAILABLE if the store hangs', async () => {
  const never = (): Promise<never> => new Promise(() => {});
  const names = Object.keys(memoryStore()).filter((name) => !['append', 'watch'].includes(name));
  const hanging = Object.fromEntries(names.map((name) => [name, never]));
  const store = limitedStore({ ...memoryStore(), ...hanging, claim: () => never });
  const calls: [string, (...args: never[]) => unknown][] = [
    ...names.map((name): [string, () => unknown] => [name, Reflect.get(store, name)]),
    ['owner', store.claim?.('/tasks', []) ?? (() => undefined)],
  ];
  const codes = await Promise.all(
    calls.map(async ([name, call]) => {
      const error = await Promise.resolve(call()).catch((thrown: unknown) => thrown);
      return [name, (error as { code?: unknown }).code];
    }),
  );
  expect(codes).toEqual(calls.map(([name]) => [name, 'STORE_UNAVAILABLE']));
});
