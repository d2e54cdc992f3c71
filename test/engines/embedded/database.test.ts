import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import Koa from 'koa';
import { layoutVersion, openDatabase } from '../../../src/engines/tables/schema/database.js';
import { idBytes } from '../../../src/engines/tables/schema/rows.js';
import { packTasks } from '../../../src/engines/tables/write/packed-tasks.js';
import { Writer } from '../../../src/engines/tables/write/writer.js';
import { TaskManager } from '../../../src/manager.js';
import { createCipher } from '../../../src/tasks/encryption.js';
import { prepareTask } from '../../../src/tasks/prepare.js';
import { readSettings } from '../../../src/tasks/task-options.js';
import { gate } from '../../../src/testing/wait.js';
import { sseStream } from '../../../src/web/sse-stream.js';
import { taskEvents } from '../../../src/web/task-events.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { quickest } from '../../helpers/quickest.js';
import { serve } from '../../helpers/serve.js';
import { openStream } from '../../helpers/stream.js';
import { waitFor } from '../../helpers/wait.js';

describe('the database file', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let path: string;
  beforeEach(() => {
    folder = temporaryFolder();
    path = folder.file('tasks.db');
  });
  const managers: TaskManager[] = [];
  afterEach(async () => {
    await Promise.all(managers.splice(0).map((manager) => manager.stop({ timeout: 0 })));
    folder.remove();
  });
  /** Makes a manager that is stopped after the test. */
  const opened = (database: string): TaskManager => {
    const manager = new TaskManager({ database, logger: false });
    managers.push(manager);
    return manager;
  };

  const start = async (database = path): Promise<void> => {
    const tasks = new TaskManager({ database, logger: false });
    await tasks.start().finally(() => tasks.stop({ timeout: 0 }));
  };

  it.each<[string, (path: string) => Promise<void> | void, RegExp]>([
    [
      'is not a database',
      (file) =>
        writeFileSync(file, 'a letter to grandma, and nothing that SQLite wrote. '.repeat(20)),
      /not an SQLite database/,
    ],
    [
      'is too short for a database',
      (file) => writeFileSync(file, 'short'),
      /not an SQLite database/,
    ],
    [
      'belongs to another program',
      async (file) => {
        const other = await openDatabase(file);
        other.exec('CREATE TABLE customer (name TEXT); INSERT INTO customer VALUES (1)');
        other.close();
      },
      /another program/,
    ],
    [
      'belongs to another program that writes in WAL mode',
      async (file) => {
        const other = await openDatabase(file);
        other.exec(
          `PRAGMA journal_mode = WAL; CREATE TABLE customer (name TEXT); INSERT INTO customer
            VALUES (1)`,
        );
        other.close();
        for (const ending of ['-wal', '-shm']) rmSync(file + ending, { force: true });
      },
      /another program/,
    ],
    [
      'belongs to another program that crashed, and has a journal to be rolled back',
      async (file) => {
        const other = await openDatabase(file);
        other.exec('PRAGMA cache_size = 1; CREATE TABLE customer (name TEXT)');
        const insert = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
          LIMIT 500) INSERT INTO customer SELECT hex(randomblob(50)) FROM n`;
        other.exec(insert);
        other.exec(`BEGIN; UPDATE customer SET name = 'unfinished'`);
        const files = ['', '-journal'].map((ending) => readFileSync(file + ending));
        other.exec('ROLLBACK');
        other.close();
        for (const [index, ending] of ['', '-journal'].entries())
          writeFileSync(file + ending, files[index] ?? '');
      },
      /another program/,
    ],
    [
      'is from a pre-release',
      async (file) => {
        const older = await openDatabase(file);
        older.exec('PRAGMA application_id = 0x746b666c; PRAGMA user_version = 6');
        older.exec('CREATE TABLE task (rowid INTEGER PRIMARY KEY)');
        older.close();
      },
      /pre-release/,
    ],
    [
      'was written by a newer version',
      async (file) => {
        await start(`${file}.made`);
        const newer = await openDatabase(`${file}.made`);
        newer.exec(`PRAGMA user_version = ${layoutVersion + 1}`);
        newer.get('PRAGMA wal_checkpoint(TRUNCATE)');
        newer.close();
        copyFileSync(`${file}.made`, file);
      },
      /newer version/,
    ],
  ])('is rejected with a clear error and left unchanged if it %s', async (_case, make, message) => {
    await make(path);
    // SQLite would first change the journal, the log and the index of the log. The driver removes
    // the files of the original database only when its connections are garbage-collected.
    const content = (): [name: string, bytes: Buffer][] =>
      readdirSync(folder.path, { withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.name.includes('.made'))
        .map(({ name }) => [name, readFileSync(folder.file(name))]);
    const before = content();
    await expect(start()).rejects.toThrow(
      expect.objectContaining({
        code: 'ENGINE_UNAVAILABLE',
        message: expect.stringMatching(message),
      }),
    );
    expect(content()).toEqual(before);
  });

  it('is rejected with a clear error and left unchanged if it is damaged', async () => {
    const made = folder.file('made.db');
    await start(made);
    const bytes = readFileSync(made);
    const damaged = Buffer.concat([
      bytes.subarray(0, 100),
      Buffer.alloc(bytes.length - 100, 'damaged '),
    ]);
    writeFileSync(path, damaged);
    await expect(start()).rejects.toMatchObject({
      code: 'ENGINE_UNAVAILABLE',
      message: expect.stringMatching(/cannot be used/),
    });
    // SQLite opens the file before it finds the damage, so an empty log may exist.
    expect(readFileSync(path).equals(damaged)).toBe(true);
  });

  it.each<[string, (path: string) => void, RegExp]>([
    ['is a folder', (file) => mkdirSync(file), /is a folder/],
    ['is a named pipe', (file) => execFileSync('mkfifo', [file]), /not a regular file/],
    [
      'has a file instead of its folder of locks',
      (file) => writeFileSync(`${file}-owners`, ''),
      /-owners'.* is a file/,
    ],
    [
      'is in a folder that does not exist',
      (file) => rmdirSync(dirname(file)),
      /folder does not exist/,
    ],
  ])('is rejected with a clear error if it %s', async (_case, make, message) => {
    make(path);
    await expect(start()).rejects.toThrow(
      expect.objectContaining({
        code: 'ENGINE_UNAVAILABLE',
        message: expect.stringMatching(message),
      }),
    );
  });

  it('keeps its locks if other managers of the process start and stop', async () => {
    const locks = (): string[] => {
      const { ino } = statSync(path);
      // The kernel may list a lock twice if the list changes while it is read.
      const lines = readFileSync('/proc/locks', 'utf8')
        .split('\n')
        .filter((line) => line.includes(` ${process.pid} `) && line.includes(`:${ino} `))
        .map((line) => line.replace(/^\d+: /, ''));
      return [...new Set(lines)];
    };
    const tasks = opened(path);
    await tasks.start();
    const held = locks();
    expect(held.length).toBeGreaterThan(0);
    symlinkSync(path, `${path}.link`);
    for (const database of [path, `${path}.link`]) {
      const other = opened(database);
      await other.start({ run: false });
      expect(locks()).toEqual(held);
      await other.backup(`${database}.copy`);
      await other.stop();
      expect(locks()).toEqual(held);
    }
  });

  it('can be copied while it is in use, but not over another file', async () => {
    const tasks = new TaskManager({ database: path, logger: false });
    const note = tasks.define<[n: number]>('note');
    await note.enqueueMany(Array.from({ length: 200 }, (_, n) => [n]));
    const copied = folder.file('copy.db');
    const [, ...ids] = await Promise.all([tasks.backup(copied), note.enqueue(1), note.enqueue(2)]);
    for (const path of [copied, folder.file('no/such/copy.db'), dirname(copied)])
      await expect(tasks.backup(path)).rejects.toThrow(
        expect.objectContaining({ code: 'INVALID_INPUT' }),
      );
    expect(ids.length).toBe(2);
    const other = new TaskManager({ database: copied, logger: false });
    expect((await other.find({ limit: 1 })).total).toBeGreaterThanOrEqual(200);
    await Promise.all([tasks.stop(), other.stop()]);
  });

  it('keeps few entries of a log and drops expired ones in small batches', async () => {
    const tasks = new TaskManager({ database: path, logger: false });
    for (let n = 0; n < 30; n++) await tasks.store.append('log', n, 0.05);
    await new Promise((resolve) => setTimeout(resolve, 80));
    for (let n = 30; n < 34; n++) await tasks.store.append('log', n, 60);
    const file = await openDatabase(path);
    expect(file.get('SELECT count(*) AS n FROM shared_log')).toEqual({ n: 4 });
    file.close();
    await tasks.stop({ timeout: 0 });
  });

  it('can be opened again after it is repaired', async () => {
    writeFileSync(path, 'not a database, for now, of more than one hundred bytes: '.repeat(3));
    const tasks = new TaskManager({ database: path, logger: false });
    const noop = tasks.define('noop');
    await expect(tasks.start()).rejects.toThrow();
    await expect(noop.enqueue()).rejects.toThrow(/not an SQLite database/);
    writeFileSync(path, '');
    await tasks.start();
    await noop.enqueue();
    await tasks.stop();
  });

  it('is polled every 24.8 days at the latest', async () => {
    const intervals = jest.spyOn(globalThis, 'setInterval');
    const tasks = new TaskManager({ database: path, logger: false, pollInterval: 3_000_000 });
    managers.push(tasks);
    await tasks.start();
    // Node replaces a longer interval by 1 ms.
    expect(Math.max(...intervals.mock.calls.map(([, milliseconds]) => milliseconds ?? 0))).toBe(
      2 ** 31 - 1,
    );
    intervals.mockRestore();
  });

  it('protects the tasks of a process after the lock of the process was removed', async () => {
    let runs = 0;
    const { passed, open } = gate();
    const work = (): Promise<void> => {
      runs += 1;
      return passed;
    };
    const first = opened(path);
    const long = first.task('long', work, { requeueOnInterrupt: true });
    await first.start();
    const id = await long.enqueue();
    await waitFor(() => runs === 1);
    const locks = (): number => readdirSync(`${path}-owners`).length;
    rmSync(`${path}-owners`, { recursive: true });
    await waitFor(() => existsSync(`${path}-owners`) && locks() > 0);
    const second = opened(path);
    second.task('long', work, { requeueOnInterrupt: true });
    await second.start();
    expect(await first.get(id)).toMatchObject({ status: 'running', attempt: 1 });
    open();
    await waitFor(async () => (await second.get(id))?.status === 'success');
    expect(runs).toBe(1);
    await first.stop();
    await second.stop();
    expect(locks()).toBe(0);
  });

  it('can be opened again after a start that failed with the lock already taken', async () => {
    const tasks = opened(path);
    const noop = tasks.task('noop', () => 1);
    await tasks.find();
    const connection = await openDatabase(path);
    connection.run(
      `INSERT INTO worker (owner, host, pid, version, slots, started_at)
        VALUES ('gone', 'here', 1, '0.1.0', 1, 1)`,
    );
    connection.close();
    // The lock is a folder, so the state of that process is unknown.
    mkdirSync(`${path}-owners/gone`, { recursive: true });
    const failure = expect.objectContaining({
      code: 'ENGINE_UNAVAILABLE',
      message: expect.stringContaining(`${path}-owners/gone`),
    });
    await expect(tasks.start()).rejects.toThrow(failure);
    rmdirSync(`${path}-owners/gone`);
    await tasks.start();
    const id = await noop.enqueue();
    await waitFor(async () => (await tasks.get(id))?.status === 'success');
  });

  it('rejects an enqueue on a full disk, keeps its content, and recovers', async () => {
    const tasks = new TaskManager({ database: path, logger: false });
    const note = tasks.define<[text: string]>('note');
    const kept = await note.enqueue('kept');
    await tasks.stop();
    const connection = await openDatabase(path);
    const writer = new Writer(connection);
    const large = prepareTask(
      { name: 'note', settings: readSettings('note', undefined), handler: undefined },
      ['x'.repeat(200_000)],
      {
        argsBytes: 1_000_000,
        cipher: createCipher([]),
        engine: {},
      },
    );
    const write = () =>
      writer.apply({
        writes: [{ kind: 'enqueue', tasks: packTasks([large]) }],
        claim: undefined,
        at: Date.now(),
        wanted: [],
      }).outcomes;
    // The page limit of SQLite replaces a full disk, because it causes the same error.
    const pages = Number(connection.get('PRAGMA page_count')?.page_count);
    connection.get(`PRAGMA max_page_count = ${pages + 5}`);
    expect(write()).toEqual([
      { ok: false, error: { message: expect.stringContaining('full'), errcode: 13 } },
    ]);
    expect(connection.all('SELECT id FROM task')).toEqual([{ id: new Uint8Array(idBytes(kept)) }]);
    connection.get('PRAGMA max_page_count = 1000000');
    expect(write()).toEqual([undefined]);
    expect(connection.all('SELECT n FROM task_count')).toEqual([{ n: 2 }]);
    connection.close();
  });

  it('rejects all waiting writes together while it is locked, and recovers', async () => {
    const tasks = new TaskManager({ database: path, logger: false });
    await tasks.define<[n: number]>('note').enqueue(0);
    await tasks.stop();
    const [connection, other] = [await openDatabase(path), await openDatabase(path)];
    connection.exec('PRAGMA busy_timeout = 100');
    const writer = new Writer(connection);
    const prepare = () =>
      prepareTask(
        { name: 'note', settings: readSettings('note', undefined), handler: undefined },
        [1],
        {
          argsBytes: 1000,
          cipher: createCipher([]),
          engine: {},
        },
      );
    const write = () => {
      const writes = Array.from({ length: 20 }, () => ({
        kind: 'enqueue' as const,
        tasks: packTasks([prepare()]),
      }));
      const claim = { owner: 'o', names: [['note', undefined] as const], limit: 5, at: Date.now() };
      return writer.apply({ writes, claim, at: Date.now(), wanted: [] });
    };
    other.exec('BEGIN IMMEDIATE');
    let { outcomes, claimed } = write();
    const took = await quickest(1500, () => {
      ({ outcomes, claimed } = write());
    });
    expect(took).toBeLessThan(1500);
    expect(outcomes).toHaveLength(20);
    expect(
      new Set(outcomes.map((outcome) => outcome && !outcome.ok && outcome.error.errcode)),
    ).toEqual(new Set([5]));
    expect(claimed).toEqual([]);
    other.exec('ROLLBACK');
    expect(write().claimed).toHaveLength(5);
    expect(connection.get('SELECT count(*) AS n FROM task')).toEqual({ n: 21 });
    connection.close();
    other.close();
  });

  it('is written and synced before an enqueue resolves', async () => {
    const tasks = new TaskManager({ database: path, logger: false });
    const id = await tasks.define('noop').enqueue();
    const other = await openDatabase(path);
    expect(other.get('SELECT status FROM task WHERE id = ?', idBytes(id))).toEqual({ status: 0 });
    expect(other.get('PRAGMA journal_mode')).toEqual({ journal_mode: 'wal' });
    other.close();
    await tasks.stop();
  });

  it('stays open while only its statements are in use', async () => {
    const database = await openDatabase(':memory:');
    database.exec('CREATE TABLE t (a)');
    const collect = (globalThis as { gc?: () => void }).gc;
    expect(collect).toBeDefined();
    for (let n = 0; n < 20; n++) {
      collect?.();
      await new Promise((resolve) => setImmediate(resolve));
      database.run('INSERT INTO t VALUES (?)', n);
    }
    expect(database.get('SELECT count(*) AS n FROM t')).toEqual({ n: 20 });
    database.close();
  });
});

describe('a database with 100,000 ended tasks', () => {
  const folder = temporaryFolder();
  const tasks = new TaskManager({
    database: folder.file('tasks.db'),
    logger: false,
    concurrency: 1000,
  });
  const noop = tasks.task('noop', () => {});
  afterEach(async () => {
    await tasks.stop();
    folder.remove();
  });

  it('answers the first page quickly and reports a change without reading all tasks', async () => {
    await tasks.start();
    for (let batch = 0; batch < 20; batch++)
      await noop.enqueueMany(Array.from({ length: 5000 }, () => []));
    await waitFor(async () => (await tasks.aggregate('statsSnapshot')).counts.success === 100_000);
    const find = () => tasks.find({ limit: 50, status: ['success'], name: 'noop' });
    expect(await quickest(100, find)).toBeLessThan(100);
    expect(await find()).toMatchObject({ total: 10_000, totalRelation: 'gte' });
    const app = new Koa();
    app.use(sseStream(taskEvents(tasks)));
    const served = await serve(app);
    const stream = await openStream(served.url);
    await waitFor(() => stream.of('metrics').length > 0);
    const before = stream.bytes();
    await noop.with({ runIn: 60 }).enqueue();
    await waitFor(() => stream.of('tasks').length > 0);
    expect(stream.bytes() - before).toBeLessThan(1000);
    stream.close();
    await served.close();
  });
});
