import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../src/engines/embedded/clock.js';
import { createGroupCommit } from '../../../src/engines/embedded/group-commit.js';
import { type ClaimedRow, claimedTask } from '../../../src/engines/tables/schema/claimed-task.js';
import type { Batch, BatchResult } from '../../../src/engines/tables/write/batch.js';

const row = (rowid: number): ClaimedRow =>
  claimedTask.pack({
    ...{ rowid, id: `id${rowid}`, name: 'note', queue: 'default', tags: null, attempt: 1 },
    ...{ tryNumber: 1, logLines: 0, deadlineAt: null, args: '[]' },
  });
const write = { kind: 'pauseQueue', queue: 'default', paused: true, by: 'test', at: 0 } as const;

/** Makes a disk with commits that the test ends, in their order. */
function fakeDisk({ slots = 0, batchWeight = 16_000_000 } = {}) {
  const underWay: {
    batch: Batch;
    end(result?: Partial<BatchResult>): Promise<void>;
    fail(): Promise<void>;
  }[] = [];
  const batches: Batch[] = [];
  const begun: number[] = [];
  const due: (number | null)[] = [];
  const failures: unknown[] = [];
  let atOnce: Partial<BatchResult> | undefined;
  /** The parts of the engine that throw. */
  const broken = { claim: false, begin: false };
  const commits = createGroupCommit({
    clock: systemClock,
    port: {
      apply: (batch) =>
        new Promise((resolve, reject) => {
          batches.push(batch);
          const settled = async (settle: () => void): Promise<void> => {
            underWay.splice(0, 1);
            settle();
            for (let n = 0; n < 5; n++) await turn();
          };
          const usual = {
            outcomes: batch.writes.map(() => undefined),
            claimed: [],
            begun: [],
            expired: [],
            nextDue: null,
            diskBound: false,
          };
          if (atOnce) resolve({ ...usual, ...atOnce });
          else
            underWay.push({
              batch,
              end: (result) => settled(() => resolve({ ...usual, ...result })),
              fail: () => settled(() => reject(new Error('the thread ended'))),
            });
        }),
      hold: () => {},
      close: async () => {},
    },
    claim: (reserved) => {
      if (broken.claim) throw new Error('the claim is broken');
      const limit = slots - begun.length - reserved;
      return limit > 0 ? { owner: 'o', names: [['note', undefined]], limit, at: 0 } : undefined;
    },
    wanted: () => [],
    onClaimed: ({ claimed }) => {
      if (broken.begin) throw new Error('the tasks cannot begin');
      begun.push(...claimed.map((packed) => claimedTask.unpack(packed).rowid));
    },
    onDue: (nextDue) => due.push(nextDue),
    onClaimFailed: (error) => failures.push(error),
    onCommitted: () => {},
    handBack: () => ({
      kind: 'handBack',
      owner: 'o',
      held: begun.map((rowid) => [rowid, 1] as const),
      at: 0,
    }),
    batchWeight,
  });
  const first = (): (typeof underWay)[number] => {
    const [found] = underWay;
    if (!found) throw new Error('no batch is under way');
    return found;
  };
  const submit = async (n = 1): Promise<void> => {
    for (let each = 0; each < n; each++) void commits.submit(write).catch(() => undefined);
    for (let each = 0; each < 3; each++) await turn();
  };
  /** Answers all later writes at once. */
  const answerAtOnce = (result: Partial<BatchResult>): void => {
    atOnce = result;
  };
  return { commits, underWay, batches, begun, due, failures, broken, first, submit, answerAtOnce };
}

describe('a group commit', () => {
  it('contains all writes that arrive while a slow disk commits', async () => {
    const { first, submit, underWay, batches } = fakeDisk();
    await submit();
    await submit(50);
    await submit(50);
    expect(underWay).toHaveLength(1);
    await first().end({ diskBound: true });
    expect(batches.map(({ writes }) => writes.length)).toEqual([1, 100]);
    await first().end({ diskBound: true });
  });

  it('runs beside one other commit on a fast disk, but not beside two', async () => {
    const { first, submit, underWay, batches } = fakeDisk();
    await submit();
    await first().end();
    for (let n = 1; n <= 4; n++) await submit(n);
    expect(underWay).toHaveLength(2);
    await first().end();
    await first().end();
    await first().end();
    expect(batches.map(({ writes }) => writes.length)).toEqual([1, 1, 2, 7]);
    expect(underWay).toHaveLength(0);
  });

  it('runs alone again after the disk has become slow', async () => {
    const { first, submit, underWay } = fakeDisk();
    await submit();
    await first().end();
    await submit();
    await submit();
    expect(underWay).toHaveLength(2);
    await first().end({ diskBound: true });
    await submit();
    expect(underWay).toHaveLength(1);
    await first().end({ diskBound: true });
    expect(underWay).toHaveLength(1);
  });

  it('contains the writes that follow from the first results of the previous one', async () => {
    const { commits, first, submit, batches } = fakeDisk();
    await submit();
    await first().end();
    const notified: number[] = [];
    for (let n = 0; n < 100; n++)
      void commits.submit(write).then(() => {
        notified.push(n);
        return commits.submit(write);
      });
    for (let n = 0; n < 3; n++) await turn();
    await first().end();
    expect(notified).toHaveLength(100);
    expect(batches.map(({ writes }) => writes.length)).toEqual([1, 100, 50, 50]);
  });

  it('claims no more tasks than the previous commit leaves slots', async () => {
    const { first, submit, batches, begun } = fakeDisk({ slots: 10 });
    await submit();
    await first().end({ claimed: [row(1), row(2)] });
    await submit();
    await submit();
    expect(batches.map(({ claim }) => claim?.limit)).toEqual([10, 8, undefined]);
    await first().end({ claimed: [3, 4, 5, 6, 7, 8, 9, 10].map(row) });
    await first().end();
    expect(begun).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(batches).toHaveLength(3);
  });

  it('claims again for tasks stored while another commit held all free slots', async () => {
    const { first, submit, batches, begun } = fakeDisk({ slots: 10 });
    await submit();
    await first().end();
    await submit();
    await submit();
    expect(batches.map(({ claim }) => claim?.limit)).toEqual([10, 10, undefined]);
    await first().end();
    await first().end();
    await first().end({ claimed: [row(1)] });
    expect(batches.map(({ claim }) => claim?.limit)).toEqual([10, 10, undefined, 10]);
    expect(begun).toEqual([1]);
  });

  it('releases its slots if it fails', async () => {
    const { first, submit, batches } = fakeDisk({ slots: 10 });
    await submit();
    await first().fail();
    await submit();
    expect(batches.map(({ claim }) => claim?.limit)).toEqual([10, 10]);
    await first().end();
  });

  it('finishes with all pending writes before a close resolves', async () => {
    const { commits, first, submit, underWay } = fakeDisk();
    await submit();
    await first().end();
    await submit();
    await submit();
    await submit();
    let closed = false;
    void commits.close().then(() => {
      closed = true;
    });
    await first().end();
    await first().end();
    expect(closed).toBe(false);
    await first().end();
    expect(closed).toBe(true);
    expect(underWay).toHaveLength(0);
    await expect(commits.submit(write)).rejects.toMatchObject({
      code: 'ENGINE_UNAVAILABLE',
    });
  });

  it('reports the next due time in the order of the commits', async () => {
    const { commits, first, submit, due, answerAtOnce } = fakeDisk({ slots: 10 });
    await submit();
    await first().end();
    void commits.submit(write).then(() => commits.submit<'pauseQueue'>(write));
    await submit(99);
    answerAtOnce({ nextDue: 5 });
    await first().end();
    expect(due).toEqual([null, null, 5]);
  });

  it('reports a failed claim, and no due time', async () => {
    const { first, submit, due, failures } = fakeDisk({ slots: 10 });
    await submit();
    await first().end({ nextDue: null, claimError: { message: 'locked', errcode: 5 } });
    await submit();
    await first().fail();
    expect(due).toEqual([]);
    expect(failures).toEqual([
      expect.objectContaining({ code: 'ENGINE_UNAVAILABLE' }),
      expect.any(Error),
    ]);
  });

  it('hands back possibly claimed tasks of a commit without an answer', async () => {
    const { first, submit, batches } = fakeDisk({ slots: 10 });
    await submit();
    await first().end({ claimed: [row(1)] });
    await submit();
    await submit();
    await first().fail();
    await first().end();
    await submit();
    await first().end();
    await submit();
    await first().end();
    const handBack = { kind: 'handBack', owner: 'o', held: [[1, 1]], at: 0 };
    expect(
      batches.flatMap(({ writes }) => writes.filter(({ kind }) => kind === 'handBack')),
    ).toEqual([handBack]);
    expect(batches.find(({ writes }) => writes[0]?.kind === 'handBack')?.claim).toMatchObject({
      limit: 9,
    });
  });

  it('reports a claim that cannot be made and stores its writes', async () => {
    const { first, submit, batches, failures, broken } = fakeDisk({ slots: 10 });
    broken.claim = true;
    await submit();
    expect(failures).toEqual([new Error('the claim is broken')]);
    await first().end();
    broken.claim = false;
    await submit();
    expect(batches.map(({ writes, claim }) => [writes.length, claim?.limit])).toEqual([
      [1, undefined],
      [1, 10],
    ]);
    await first().end();
  });

  it('reports claimed tasks that cannot begin, and the next commit continues', async () => {
    const { first, submit, batches, failures, broken } = fakeDisk({ slots: 10 });
    await submit();
    broken.begin = true;
    await first().end({ claimed: [row(1)] });
    expect(failures).toEqual([new Error('the tasks cannot begin')]);
    broken.begin = false;
    await submit();
    expect(batches).toHaveLength(2);
    await first().end();
  });

  it('hands tasks back again if the first attempt was not stored', async () => {
    const { first, submit, batches } = fakeDisk({ slots: 10 });
    await submit();
    await first().fail();
    await submit();
    await first().end({
      outcomes: [{ ok: false, error: { message: 'locked', errcode: 5 } }, undefined],
    });
    await submit();
    await first().end();
    await submit();
    await first().end();
    expect(
      batches.map(({ writes }) => writes.filter(({ kind }) => kind === 'handBack').length),
    ).toEqual([0, 1, 1, 0]);
  });

  it('is limited by weight and keeps the order, and a larger write is alone in one', async () => {
    const { commits, first, batches } = fakeDisk({ batchWeight: 10_000 });
    const settled: number[] = [];
    for (const [n, length] of [4000, 4000, 4000, 50_000, 100].entries()) {
      const set = {
        kind: 'set',
        key: String(n),
        value: 'x'.repeat(length),
        expiresAt: 0,
        at: 0,
      } as const;
      void commits.submit(set).then(() => settled.push(n));
    }
    for (let n = 0; n < 4; n++) {
      await turn();
      await first().end({ diskBound: true });
    }
    expect(batches.map(({ writes }) => writes.map((each) => 'key' in each && each.key))).toEqual([
      ['0', '1'],
      ['2'],
      ['3'],
      ['4'],
    ]);
    expect(settled).toEqual([0, 1, 2, 3, 4]);
  });
});
