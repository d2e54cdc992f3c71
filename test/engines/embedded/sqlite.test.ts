import { expect, it } from '@jest/globals';
import { DatabaseSync } from '../../../src/engines/embedded/sqlite.js';
import { sleep } from '../../helpers/wait.js';

const collect = (globalThis as { gc?: (options: { type: 'minor' }) => void }).gc;

it('keeps a connection open while one of its statements is in use', async () => {
  const statement = new DatabaseSync(':memory:').prepare('SELECT 1 AS one');
  for (let n = 0; n < 5; n++) {
    collect?.({ type: 'minor' });
    await sleep(0.02);
  }
  expect(collect).toBeDefined();
  expect(statement.get()).toEqual({ one: 1 });
});
