// Exits while a thread of the engine uses the SQLite driver: <database> <write | backup> <exit |
// throw>.
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { TaskManager } from 'koa-taskflow';
import { DatabaseSync } from 'koa-taskflow/sqlite';

const [database = '', busy, way] = process.argv.slice(2);
const tasks = new TaskManager({ database, logger: false });
const work = tasks.task('work', (/** @type {string} */ _text) => {});
await tasks.start({ run: false });

const exit = () => {
  if (way === 'exit') process.exit(7);
  // Thrown outside a promise, as in a timer callback of the app.
  setImmediate(() => {
    throw new Error('of the app');
  });
};

if (busy === 'backup') {
  await work.enqueueMany(
    Array.from({ length: 1000 }, () => /** @type {[string]} */ (['x'.repeat(10_000)])),
  );
  const copy = `${database}-copy`;
  void tasks.backup(copy);
  while (!existsSync(`${copy}.${process.pid}.unfinished`)) await sleep(1);
  exit();
} else {
  const beside = new DatabaseSync(database);
  // One statement of the writer thread then takes long.
  beside.exec(`CREATE TRIGGER slow AFTER INSERT ON task BEGIN
    SELECT (WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number
      WHERE n < 1000000) SELECT count(*) FROM number);
  END`);
  void work.enqueue('a');
  /** Whether a transaction of the thread is open. */
  const isWriting = () => {
    try {
      beside.exec('PRAGMA busy_timeout = 0; BEGIN IMMEDIATE; ROLLBACK');
      return false;
    } catch {
      return true;
    }
  };
  while (!isWriting()) await sleep(1);
  exit();
}
