import { describe, expect, it } from '@jest/globals';
import { Background } from '../src/background.js';
import { TaskflowError } from '../src/errors.js';
import { recordingLogger } from './helpers/logs.js';

const fail = (): never => {
  throw new Error('no');
};
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('background work', () => {
  it('never throws, and logs each failure and each recovery once', async () => {
    const { logger, lines } = recordingLogger();
    const job = new Background(logger, 'counting');
    for (const work of [
      () => {},
      fail,
      async () => fail(),
      fail,
      async () => {},
      () => {},
      async () => fail(),
    ]) {
      job.run(work);
      await turn();
    }
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
      [50, 'counting failed'],
      [30, 'counting works again'],
      [50, 'counting failed'],
    ]);
  });

  it('does not log a failure that is already in the log', async () => {
    const { logger, lines } = recordingLogger();
    const job = new Background(logger, 'counting');
    job.run(() => {
      throw new TaskflowError('ENGINE_UNAVAILABLE', 'away', { reported: true });
    });
    job.run(() => {});
    expect(lines).toEqual([]);
  });
});
