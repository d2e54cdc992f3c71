import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { systemClock } from '../../../src/engines/embedded/clock.js';
import { createGroupCommit } from '../../../src/engines/embedded/group-commit.js';
import { threadPort, type WritePort } from '../../../src/engines/embedded/write-port.js';
import { openDatabase } from '../../../src/engines/tables/schema/database.js';
import type { Batch } from '../../../src/engines/tables/write/batch.js';
import { loggerOption } from '../../../src/options.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { startScript } from '../../helpers/process.js';

const logger = loggerOption('logger', false);
const set = (key: string, value: unknown) =>
  ({ kind: 'set', key, value: value as string, expiresAt: 9e15, at: 0 }) as const;
const batch = (...writes: Batch['writes']): Batch => ({
  writes,
  claim: undefined,
  at: 0,
  wanted: [],
});

describe('the writer thread', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let path: string;
  let port: WritePort | undefined;
  const values = async (): Promise<Record<string, number>> => {
    const database = await openDatabase(path);
    const rows = database.all('SELECT key, length(value) AS length FROM shared ORDER BY key');
    database.close();
    return Object.fromEntries(rows.map(({ key, length }) => [String(key), Number(length)]));
  };
  beforeEach(() => {
    folder = temporaryFolder();
    path = folder.file('tasks.db');
  });
  afterEach(async () => {
    await port?.close();
    port = undefined;
    folder.remove();
  });

  it('is restarted if it ends: all enqueued tasks have run, and none has run twice', async () => {
    const script = startScript('dying-thread.js', path, '4');
    expect(await script.ended).toBe(0);
    const result = JSON.parse(script.lines.at(-1) ?? '') as Record<string, unknown>;
    expect(result).toMatchObject({
      threads: 5,
      states: ['success'],
      maxRuns: 1,
      codes: ['ENGINE_UNAVAILABLE'],
      failed: 4,
      worksAgain: 4,
      uncaughtException: 0,
      unhandledRejection: 0,
    });
  });

  it('answers the batches after a batch that cannot be sent', async () => {
    const opened = await threadPort(path, logger);
    port = opened;
    expect(() => opened.apply(batch(set('a', 1n)))).toThrow(TypeError);
    expect((await opened.apply(batch(set('b', 'x'), set('c', 'x')))).outcomes).toHaveLength(2);
    expect((await opened.apply(batch(set('d', 'x')))).outcomes).toHaveLength(1);
    expect(await values()).toEqual({ b: 1, c: 1, d: 1 });
  });

  it('rejects only the one write of a commit that cannot be sent', async () => {
    port = await threadPort(path, logger);
    const commits = createGroupCommit({
      clock: systemClock,
      port,
      claim: () => undefined,
      wanted: () => [],
      onClaimed: () => {},
      onDue: () => {},
      onClaimFailed: () => {},
      onCommitted: () => {},
      handBack: () => undefined,
    });
    const writes = [set('a', 'x'), set('b', 1n), set('c', 'x')].map((write) =>
      commits.submit(write),
    );
    expect((await Promise.allSettled(writes)).map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
    expect(await values()).toEqual({ a: 1, c: 1 });
  });

  it('stores a commit that is too long for JSON', async () => {
    port = await threadPort(path, logger);
    const { outcomes } = await port.apply(
      batch(set('large', 'x'.repeat(70_000_000)), set('small', 'x')),
    );
    expect(outcomes.every((outcome) => outcome?.ok ?? true)).toBe(true);
    expect(await values()).toEqual({ large: 70_000_000, small: 1 });
  });

  it('can be closed while it is not running', async () => {
    const opened = await threadPort(path, logger);
    await opened.close();
    await expect(opened.apply(batch(set('a', 'x')))).rejects.toMatchObject({
      code: 'ENGINE_UNAVAILABLE',
    });
    await opened.close();
  });
});
