import { copyFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TaskManager } from '../../../src/manager.js';
import type { DeclaredTask } from '../../../src/tasks/definition.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { recordingLogger } from '../../helpers/logs.js';
import { sleep, waitFor } from '../../helpers/wait.js';

describe('an open database file', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let path: string;
  let tasks: TaskManager;
  let note: DeclaredTask<[]>;
  let log: ReturnType<typeof recordingLogger>;
  beforeEach(async () => {
    folder = temporaryFolder();
    path = folder.file('tasks.db');
    log = recordingLogger();
    tasks = new TaskManager({ database: path, logger: log.logger, pollInterval: 0.02 });
    note = tasks.define<[]>('note');
    // A schedule makes the manager claim, record and look for changes during the test.
    tasks.schedule('tick', () => {}, { every: 0.05 });
    await tasks.start();
    await note.enqueue();
  });
  afterEach(async () => {
    await tasks.stop({ timeout: 0.1 });
    folder.remove();
  });

  const codeOf = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => 'ok',
      (error: { code?: unknown }) => error.code,
    );
  const isRefused = async (): Promise<boolean> =>
    (await codeOf(note.enqueue())) === 'ENGINE_UNAVAILABLE';
  const logged = (msg: string): number => log.lines.filter((line) => line.msg === msg).length;

  it.each<[string, (file: string) => void]>([
    ['is deleted', (file) => rmSync(file)],
    [
      'is replaced',
      (file) => {
        copyFileSync(file, `${file}.new`);
        renameSync(`${file}.new`, file);
      },
    ],
    ['is emptied', (file) => truncateSync(file)],
    ['loses its write-ahead log', (file) => rmSync(`${file}-wal`)],
    ['loses the index of that log', (file) => rmSync(`${file}-shm`)],
    [
      'is overwritten',
      (file) => {
        writeFileSync(file, 'x'.repeat(8192));
        truncateSync(`${file}-wal`);
      },
    ],
  ])('is reported once and accepts no more work if it %s', async (_case, harm) => {
    harm(path);
    await waitFor(isRefused, 20);
    expect(await codeOf(tasks.find({ limit: 1 }))).toBe('ENGINE_UNAVAILABLE');
    expect(await codeOf(tasks.control({ action: 'retry', filter: 'all' }, { actor: 'ada' }))).toBe(
      'ENGINE_UNAVAILABLE',
    );
    expect(await codeOf(tasks.store.get('session'))).toBe('ENGINE_UNAVAILABLE');
    expect(await codeOf(tasks.backup(folder.file('backup.db')))).toBe('ENGINE_UNAVAILABLE');
    await sleep(0.3);
    expect(await isRefused()).toBe(true);
    expect(logged('the task database cannot be used')).toBe(1);
  });

  it('is reported even if no call is made', async () => {
    renameSync(path, `${path}.away`);
    await waitFor(() => logged('the task database cannot be used') === 1, 20);
  });

  it('can be used again after it is restored', async () => {
    renameSync(path, `${path}.away`);
    await waitFor(isRefused, 20);
    renameSync(`${path}.away`, path);
    await waitFor(async () => !(await isRefused()), 20);
    expect(await codeOf(tasks.find({ limit: 1 }))).toBe('ok');
    expect(logged('the task database can be used again')).toBe(1);
    const { total } = await tasks.find({ limit: 1, schedule: 'tick' });
    await waitFor(async () => (await tasks.find({ limit: 1, schedule: 'tick' })).total > total);
  });
});
