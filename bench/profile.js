// Where the time of a write goes: each statement of a commit as the writing thread runs it, beside
// what the disk itself takes.
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { claimedTask } from '../dist/engines/tables/schema/claimed-task.js';
import { openDatabase, prepareConnection } from '../dist/engines/tables/schema/database.js';
import { layOut } from '../dist/engines/tables/schema/layout.js';
import { packTasks } from '../dist/engines/tables/write/packed-tasks.js';
import { Writer } from '../dist/engines/tables/write/writer.js';
import { newTaskId } from '../dist/tasks/task-id.js';

const folder = mkdtempSync(join(tmpdir(), 'koa-taskflow-profile-'));

/** What a statement does, in words; the rest is told by its own. */
const words = Object.entries({
  BEGIN: 'begin',
  COMMIT: 'commit, with its sync and its share of checkpoints',
  'INSERT INTO task': 'store tasks, with six B-trees',
  'SELECT json_group_array': 'find ready tasks',
  'UPDATE task SET status = 1': 'claim them',
  'UPDATE task SET status = 2': 'end them, with eight changes of index entries',
  'UPDATE task SET ready_at': 'see which waiting ones are due',
  'SELECT min(ready_at)': 'see which is due next',
});
const group = (/** @type {string} */ sql) =>
  words.find(([start]) => sql.startsWith(start))?.[1] ?? 'counts, rollups, numbers';

/**
 * Milliseconds of each sync of a file that is appended to, and of one that is written over as a log
 * is that was emptied.
 */
function disk() {
  const file = openSync(join(folder, 'disk'), 'w');
  const page = Buffer.alloc(32_768, 1);
  const pass = () => {
    const started = performance.now();
    for (let n = 0; n < 300; n++) {
      writeSync(file, page, 0, page.length, n * page.length);
      fdatasyncSync(file);
    }
    return (performance.now() - started) / 300;
  };
  const times = { append: pass(), overwrite: pass() };
  closeSync(file);
  return times;
}

/**
 * @param {string} title
 * @param {number} size Tasks of a commit.
 * @param {boolean} run
 * @param {number} rounds
 */
async function profile(title, size, run, rounds) {
  const path = join(folder, `${size}-${run}.db`);
  const database = await openDatabase(path);
  prepareConnection(database);
  layOut(database, path);
  /** @type {Map<string, number>} */ const spent = new Map();
  /**
   * @template T
   * @param {string} sql
   * @param {() => T} work
   */
  const timed = (sql, work) => {
    const started = performance.now();
    const value = work();
    const key = group(sql.trim());
    spent.set(key, (spent.get(key) ?? 0) + performance.now() - started);
    return value;
  };
  const writer = new Writer({
    exec: (sql) => timed(sql, () => database.exec(sql)),
    run: (sql, ...values) => timed(sql, () => database.run(sql, ...values)),
    get: (sql, ...values) => timed(sql, () => database.get(sql, ...values)),
    value: (sql, ...values) => timed(sql, () => database.value(sql, ...values)),
    all: (sql, ...values) => timed(sql, () => database.all(sql, ...values)),
    close: () => database.close(),
  });
  const owner = newTaskId();
  const task = () => {
    const settings = {
      name: 'noop',
      queue: 'default',
      priority: 0,
      tags: {},
      source: /** @type {const} */ ('manual'),
    };
    const limits = { attempts: 1, interrupts: 0, deadlineAt: undefined, idempotency: undefined };
    return {
      id: newTaskId(),
      args: '[1]',
      createdAt: Date.now(),
      runAt: Date.now(),
      ...settings,
      ...limits,
    };
  };
  /** @type {readonly import('../dist/engines/tables/schema/claimed-task.js').ClaimedRow[]} */
  let claimed = [];
  const one = () => {
    const at = Date.now();
    const result = /** @type {const} */ ({ status: 'success', result: 'null' });
    const ended = claimed.map(claimedTask.unpack).map(({ rowid, attempt }) => ({
      kind: /** @type {const} */ ('finish'),
      rowid,
      owner,
      attempt,
      at,
      result,
    }));
    const stored = Array.from({ length: size }, () => ({
      kind: /** @type {const} */ ('enqueue'),
      tasks: packTasks([task()]),
    }));
    const claim = run
      ? { owner, names: [/** @type {const} */ (['noop', undefined])], limit: size, at }
      : undefined;
    claimed = writer.apply({ writes: [...ended, ...stored], claim, at, wanted: [] }).claimed;
  };
  for (let n = 0; n < rounds / 10; n++) one();
  spent.clear();
  const started = performance.now();
  for (let n = 0; n < rounds; n++) one();
  const all = performance.now() - started;
  const each = (/** @type {number} */ ms) => ((ms * 1000) / rounds / size).toFixed(1);
  const known = [...spent.values()].reduce((sum, ms) => sum + ms, 0);
  console.log(`| ${title} | µs a task |\n| --- | --- |`);
  for (const [what, ms] of [...spent].sort((a, b) => b[1] - a[1]))
    console.log(`| ${what} | ${each(ms)} |`);
  console.log(`| the rest, in JavaScript | ${each(all - known)} |\n| all | ${each(all)} |\n`);
  database.close();
}

const { append, overwrite } = disk();
console.log(
  `A sync of the disk: ${append.toFixed(2)} ms after an append, ${overwrite.toFixed(2)} ms over what was there.\n`,
);
await profile('one caller stores', 1, false, 2000);
await profile('a hundred callers store', 100, false, 200);
await profile('a hundred are stored, claimed and ended', 100, true, 200);
rmSync(folder, { recursive: true, force: true });
