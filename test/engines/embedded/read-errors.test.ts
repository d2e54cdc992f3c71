import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Database } from '../../../src/engines/tables/schema/database.js';
import { TaskManager } from '../../../src/manager.js';
import { openBeside } from '../../helpers/beside.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { waitFor } from '../../helpers/wait.js';

const by = { actor: 'ada' };
const unavailable = expect.objectContaining({ name: 'TaskflowError', code: 'ENGINE_UNAVAILABLE' });

describe('a manager', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let path: string;
  let tasks: TaskManager;
  let file: Database;
  beforeEach(async () => {
    folder = temporaryFolder();
    path = folder.file('tasks.db');
    tasks = new TaskManager({ database: path, logger: false, pollInterval: 60 });
    tasks.task('noop', () => 1);
    await tasks.find();
    file = await openBeside(path);
  });
  afterEach(async () => {
    file.close();
    await tasks.stop({ timeout: 0.1 });
    folder.remove();
  });
  /** Makes every read of the tables fail, as a damaged page would. */
  const damage = (): void => {
    for (const table of [
      'task',
      'worker',
      'meta',
      'shared',
      'shared_log',
      'schedule',
      'task_count',
    ])
      file.exec(`ALTER TABLE ${table} RENAME TO no_${table}`);
  };
  const first = async (items: AsyncIterable<unknown>): Promise<unknown> => {
    for await (const item of items) return item;
    return undefined;
  };
  const { signal } = new AbortController();

  it.each<[string, (manager: TaskManager) => Promise<unknown>]>([
    ['start', (manager) => manager.start()],
    ['find', (manager) => manager.find()],
    ['get', (manager) => manager.get('01a21071-3656-7206-a6b1-2a4514f64169')],
    ['logs', (manager) => manager.logs('01a21071-3656-7206-a6b1-2a4514f64169')],
    ['aggregate', (manager) => manager.aggregate('statsSnapshot')],
    ['describe', (manager) => manager.describe()],
    ['watch', (manager) => first(manager.watch(0, signal))],
    ['control by filter', (manager) => manager.control({ action: 'retry', filter: 'all' }, by)],
    [
      'control by id',
      (manager) =>
        manager.control({ action: 'retry', ids: ['01a21071-3656-7206-a6b1-2a4514f64169'] }, by),
    ],
    [
      'a preview',
      (manager) =>
        manager.control(
          { action: 'retry', ids: ['01a21071-3656-7206-a6b1-2a4514f64169'] },
          { ...by, dryRun: true },
        ),
    ],
    [
      'control of a schedule',
      (manager) => manager.control({ action: 'pause', schedule: 'nightly' }, by),
    ],
    ['store.get', (manager) => manager.store.get('session')],
    ['store.page', (manager) => manager.store.page('audit')],
    ['store.list', (manager) => manager.store.list('session', undefined, 10)],
    ['store.watch', (manager) => first(manager.store.watch('session', signal))],
  ])('rejects %s with ENGINE_UNAVAILABLE if SQLite cannot read the tables', async (_call, call) => {
    damage();
    await expect(call(tasks)).rejects.toThrow(unavailable);
  });

  it('stops even if its tables cannot be read and its lock cannot be removed', async () => {
    await tasks.start();
    const lock = `${path}-owners/${readdirSync(`${path}-owners`)[0]}`;
    damage();
    rmSync(lock);
    mkdirSync(lock);
    await tasks.stop({ timeout: 0.1 });
  });

  it('rejects a list of workers with ENGINE_UNAVAILABLE if the locks are unreadable', async () => {
    await tasks.start();
    await waitFor(async () => (await tasks.aggregate('workers')).length === 1);
    rmSync(`${path}-owners`, { recursive: true });
    writeFileSync(`${path}-owners`, '');
    await expect(tasks.aggregate('workers')).rejects.toThrow(unavailable);
  });

  it('takes over the tasks of a dead process even if another lock is unreadable', async () => {
    const add = (owner: string): number =>
      file.run(
        `INSERT INTO worker (owner, host, pid, version, slots, started_at)
          VALUES (?, 'here', 1, '0.1.0', 1, 1)`,
        owner,
      );
    for (const owner of ['a-unknown', 'b-dead']) add(owner);
    mkdirSync(`${path}-owners/a-unknown`, { recursive: true });
    await expect(tasks.start()).rejects.toThrow(unavailable);
    expect(file.all('SELECT owner FROM worker')).toEqual([{ owner: 'a-unknown' }]);
  });
});
