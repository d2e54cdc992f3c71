import { AsyncLocalStorage } from 'node:async_hooks';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { sleep } from './helpers/wait.js';

const requests = new AsyncLocalStorage<string>();
let runInEmptyContext: <T>(call: () => T) => T;

describe('runInEmptyContext', () => {
  // Imports the module like an app that imports the package during its first request.
  beforeAll(async () => {
    await requests.run('the request that imports', async () => {
      await sleep(0);
      ({ runInEmptyContext } = await import('../src/empty-context.js'));
    });
  });

  it('hides the stores of the caller and of the request that loaded the module', async () => {
    const tenants = new AsyncLocalStorage<number>();
    const seen = requests.run('a caller', () =>
      tenants.run(7, () =>
        runInEmptyContext(async () => {
          const first = [requests.getStore(), tenants.getStore()];
          await sleep(0);
          return [...first, requests.getStore(), tenants.getStore()];
        }),
      ),
    );
    expect(await seen).toEqual([undefined, undefined, undefined, undefined]);
    expect(runInEmptyContext(() => requests.getStore())).toBeUndefined();
  });

  it('does not change the context of the caller', () => {
    const seen = requests.run('a caller', () => {
      runInEmptyContext(() => requests.enterWith('the callee'));
      return requests.getStore();
    });
    expect(seen).toBe('a caller');
  });

  it('does not pass the context of one call on to the next', () => {
    runInEmptyContext(() => requests.enterWith('the first'));
    expect(runInEmptyContext(() => requests.getStore())).toBeUndefined();
  });

  it('returns the result or throws the error of the function', () => {
    expect(runInEmptyContext(() => 7)).toBe(7);
    expect(() =>
      runInEmptyContext(() => {
        throw new RangeError('x');
      }),
    ).toThrow(RangeError);
  });
});
