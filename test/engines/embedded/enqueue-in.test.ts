import { cpSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DatabaseSync } from '../../../src/engines/embedded/sqlite.js';
import { TaskManager } from '../../../src/manager.js';
import type { AppConnection } from '../../../src/tasks/engine.js';
import { temporaryFolder } from '../../helpers/folder.js';
import { waitFor } from '../../helpers/wait.js';

describe('a task that is enqueued in a transaction of the app', () => {
  let folder: ReturnType<typeof temporaryFolder>;
  let path: string;
  let tasks: TaskManager;
  let app: InstanceType<typeof DatabaseSync>;
  beforeEach(async () => {
    folder = temporaryFolder();
    path = folder.file('shop.db');
    tasks = new TaskManager({ database: path, logger: false, pollInterval: 0.02 });
    await tasks.describe();
    app = new DatabaseSync(path);
    app.exec('PRAGMA busy_timeout = 5000');
    app.exec('CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)');
  });
  afterEach(async () => {
    await tasks.stop();
    app.close();
    folder.remove();
  });
  const count = async (): Promise<number> => (await tasks.find({ limit: 1 })).total;

  it('is stored and runs after the commit, together with the rows of the app', async () => {
    const ran: number[] = [];
    const ship = tasks.task('ship', (order: number) => {
      ran.push(order);
    });
    await tasks.start();
    app.exec('BEGIN IMMEDIATE');
    app.prepare('INSERT INTO orders (id, item) VALUES (?, ?)').run(7, 'book');
    const id = ship.with({ tags: { order: '7' }, priority: 3 }).enqueueIn(app, 7);
    expect(await tasks.get(id)).toBeUndefined();
    app.exec('COMMIT');
    await waitFor(() => ran.length === 1);
    expect(
      await waitFor(async () => (await tasks.get(id))?.status === 'success' && tasks.get(id)),
    ).toMatchObject({
      args: [7],
      priority: 3,
      tags: { order: '7' },
    });
    expect((await tasks.aggregate('statsSnapshot')).counts).toMatchObject({
      pending: 0,
      success: 1,
    });
  });

  it('does not exist after a rollback', async () => {
    const ship = tasks.define<[order: number]>('ship');
    app.exec('BEGIN IMMEDIATE');
    const id = ship.enqueueIn(app, 7);
    app.exec('ROLLBACK');
    expect([await tasks.get(id), await count()]).toEqual([undefined, 0]);
    expect((await tasks.aggregate('statsSnapshot')).counts.pending).toBe(0);
  });

  it('does not delay a stop, although its connection stays open', async () => {
    app.exec("INSERT INTO orders (id, item) VALUES (1, 'book')");
    const began = performance.now();
    await tasks.stop();
    expect(performance.now() - began).toBeLessThan(6000);
  });

  it('leaves the transaction unchanged if it cannot be stored', async () => {
    const ship = tasks.define<[order: unknown]>('ship');
    app.exec('BEGIN IMMEDIATE');
    app.prepare('INSERT INTO orders (id, item) VALUES (?, ?)').run(7, 'book');
    expect(() => ship.enqueueIn(app, new Date())).toThrow(TypeError);
    app.exec('COMMIT');
    expect(app.prepare('SELECT count(*) AS n FROM orders').get()).toEqual({ n: 1 });
    expect(await count()).toBe(0);
  });

  it('holds its idempotency key in the transaction and after it', async () => {
    const ship = tasks.define<[order: number]>('ship').with({ idempotencyKey: 'order 7' });
    app.exec('BEGIN IMMEDIATE');
    const id = ship.enqueueIn(app, 7);
    expect(ship.enqueueIn(app, 7)).toBe(id);
    app.exec('COMMIT');
    expect(await ship.enqueue(7)).toBe(id);
    expect(await count()).toBe(1);
  });

  it('is rejected without a transaction, on a closed connection and on another file', async () => {
    const ship = tasks.define<[order: number]>('ship');
    expect(() => ship.enqueueIn(app, 7)).toThrow(/no transaction is open/);
    const other = new DatabaseSync(folder.file('other.db'));
    other.exec('BEGIN IMMEDIATE');
    expect(() => ship.enqueueIn(other, 7)).toThrow(/to another file/);
    other.close();
    expect(() => ship.enqueueIn(other, 7)).toThrow(/is closed/);
    const inMemory = new TaskManager({ database: ':memory:', logger: false });
    await inMemory.describe();
    app.exec('BEGIN');
    expect(() => inMemory.define<[order: number]>('ship').enqueueIn(app, 7)).toThrow(/in memory/);
    app.exec('ROLLBACK');
    await inMemory.stop();
    expect(await count()).toBe(0);
  });

  it('is rejected by a manager that has not opened the file', async () => {
    const unopened = new TaskManager({ database: path, logger: false });
    app.exec('BEGIN IMMEDIATE');
    expect(() => unopened.define<[order: number]>('ship').enqueueIn(app, 7)).toThrow(
      expect.objectContaining({
        code: 'ENGINE_UNAVAILABLE',
        message: expect.stringContaining('start the task manager first'),
      }),
    );
    app.exec('ROLLBACK');
    await unopened.stop();
  });

  describe('on a connection of another SQLite library', () => {
    const refused = (connection: object): void => {
      const ship = tasks.define<[order: number]>('ship');
      expect(() => ship.enqueueIn(connection as AppConnection, 7)).toThrow(TypeError);
      expect(() => ship.enqueueIn(connection as AppConnection, 7)).toThrow(/file locks/);
    };

    it('is rejected, even if that library has the same interface', async () => {
      refused({
        inTransaction: true,
        exec: () => {},
        prepare: () => ({ run() {}, get() {}, all: () => [] }),
      });
      expect(await count()).toBe(0);
    });

    it('is rejected for a second copy of the same package', async () => {
      const driver = dirname(
        createRequire(import.meta.url).resolve('@photostructure/sqlite/package.json'),
      );
      const modules = folder.file('node_modules');
      const copy = join(modules, '@photostructure/sqlite');
      for (const part of ['package.json', 'dist', `prebuilds/${process.platform}-${process.arch}`])
        cpSync(join(driver, part), join(copy, part), { recursive: true });
      symlinkSync(join(driver, '../../node-gyp-build'), join(modules, 'node-gyp-build'));
      const { DatabaseSync: Copy } = createRequire(join(copy, 'package.json'))(
        './dist/index.cjs',
      ) as { DatabaseSync: typeof DatabaseSync };
      const connection = new Copy(folder.file('elsewhere.db'));
      connection.exec('BEGIN IMMEDIATE');
      refused(connection);
      connection.close();
    });

    const node = process.getBuiltinModule?.('node:sqlite' as 'node:fs') as unknown as
      | { DatabaseSync: typeof DatabaseSync }
      | undefined;
    (node ? it : it.skip)('is rejected for node:sqlite', () => {
      const connection = new (node?.DatabaseSync ?? DatabaseSync)(folder.file('elsewhere.db'));
      connection.exec('BEGIN IMMEDIATE');
      refused(connection);
      connection.close();
    });
  });
});
