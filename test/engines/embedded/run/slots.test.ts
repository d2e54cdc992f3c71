import { afterEach, describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../../src/engines/embedded/clock.js';
import { createSlots } from '../../../../src/engines/embedded/run/slots.js';
import type {
  AttemptIo,
  AttemptResult,
  ClaimedTask,
  TaskRunner,
} from '../../../../src/tasks/task-runner.js';
import { recordingLogger } from '../../../helpers/logs.js';

const success: AttemptResult = { status: 'success' };

describe('the slots of a process', () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  /** Makes slots with attempts that run until the test ends, and records their signals. */
  function runningSlots() {
    const signals: AbortSignal[] = [];
    const run = (_task: ClaimedTask, io: AttemptIo) => {
      signals.push(io.signal);
      const result = new Promise<AttemptResult>((resolve) => ends.push(() => resolve(success)));
      return { result, ended: result, logEnd: () => {} };
    };
    const runner = { concurrency: 10, cancelGrace: () => 0.01, run } as unknown as TaskRunner;
    const abandoned: number[] = [];
    const slots = createSlots({
      runner,
      clock: systemClock,
      ends: {
        record: async () => 'reported',
        abandon: async ({ rowid }) => abandoned.push(rowid) > 0,
      },
      logged: () => {},
      freed: () => {},
      stuckChanged: () => {},
      logger: recordingLogger().logger,
    });
    const begin = (rowid: number, attempt: number) =>
      slots.run({
        ...{ rowid, id: `id-${rowid}`, name: 'task', queue: 'default', tags: null, attempt },
        ...{ tryNumber: attempt, logLines: 0, deadlineAt: null, args: '[]' },
      });
    return { slots, signals, abandoned, begin };
  }

  it('cancel an attempt that was cancelled between its claim and its start', () => {
    const { slots, signals, begin } = runningSlots();
    slots.cancel([{ rowid: 1, attempt: 1 }]);
    begin(1, 1);
    begin(2, 1);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
  });

  it('do not cancel a later attempt of the same task', () => {
    const { slots, signals, begin } = runningSlots();
    slots.cancel([{ rowid: 1, attempt: 1 }]);
    begin(1, 2);
    slots.cancel([]);
    begin(1, 1);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, false]);
  });

  it('abandon an attempt once, however often its cancellation is read', async () => {
    const { slots, signals, abandoned, begin } = runningSlots();
    begin(1, 1);
    for (let n = 0; n < 3; n++) slots.cancel([{ rowid: 1, attempt: 1 }]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    slots.cancel([{ rowid: 1, attempt: 1 }]);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(signals[0]?.aborted).toBe(true);
    expect(abandoned).toEqual([1]);
  });
});
