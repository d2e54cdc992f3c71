// Reading rows of twenty columns as one JSON text, beside reading the columns one by one: rows a
// second, and the ratio of the two.
import { openDatabase } from '../dist/engines/tables/schema/database.js';
import { layOut } from '../dist/engines/tables/schema/layout.js';
import { packing } from '../dist/engines/tables/schema/packing.js';
import { packTasks } from '../dist/engines/tables/write/packed-tasks.js';
import { Writer } from '../dist/engines/tables/write/writer.js';
import { newTaskId } from '../dist/tasks/task-id.js';
import { compare } from './lib/rounds.js';

const columns = {
  ...{ rowid: 'task.rowid', id: 'hex(task.id)', name: 'partition.name', queue: 'partition.queue' },
  ...{ status: 'status', priority: 'priority', tags: 'tags', source: 'source', runAt: 'run_at' },
  ...{ startedAt: 'started_at', endedAt: 'ended_at', duration: 'duration', attempt: 'attempt' },
  ...{ maxAttempts: 'max_attempts', cancelling: 'cancelling', progress: 'progress' },
  ...{ progressText: 'progress_text', errorName: 'error_name', errorMessage: 'error_message' },
  fingerprint: 'fingerprint',
};
const names = /** @type {(keyof typeof columns)[]} */ (Object.keys(columns));
const from = 'FROM task JOIN partition ON partition.id = task.partition WHERE task.rowid <= ?';
const packed = packing(columns);
const packedSql = `SELECT json_group_array(${packed.sql}) ${from}`;
const unpackedSql = `SELECT ${names.map((name) => `${columns[name]} AS ${name}`).join(', ')} ${from}`;

const database = await openDatabase(':memory:');
layOut(database, ':memory:');
const at = Date.now();
const tasks = Array.from({ length: 5000 }, (_, n) => ({
  ...{ id: newTaskId(), name: 'send_email', queue: 'default', priority: 0, args: '[1]' },
  ...{ tags: { tenant: String(n) }, source: /** @type {const} */ ('manual') },
  ...{ createdAt: at, runAt: at, attempts: 1, interrupts: 0 },
}));
const write = { kind: /** @type {const} */ ('enqueue'), tasks: packTasks(tasks) };
new Writer(database).apply({ writes: [write], claim: undefined, at, wanted: [] });

/**
 * Reads each column of each row by its name.
 * @param {readonly Readonly<typeof columns>[]} rows
 */
function use(rows) {
  let seen = 0;
  for (const row of rows) for (const name of names) if (row[name] !== null) seen += 1;
  return seen;
}

/**
 * @param {number} rows
 * @param {() => readonly Readonly<typeof columns>[]} read
 */
const perSecond = (rows, read) => async () => {
  const passes = Math.ceil(50_000 / rows);
  const started = performance.now();
  for (let pass = 0; pass < passes; pass++) use(read());
  return (rows * passes * 1000) / (performance.now() - started);
};

for (const rows of [50, 5000])
  await compare(`${rows.toLocaleString('en')} rows of twenty columns as JSON`, {
    unit: 'rows/s',
    ours: perSecond(rows, () => packed.parseList(database.value(packedSql, rows))),
    peer: perSecond(rows, () => database.all(unpackedSql, rows)),
    peerName: 'columns',
  });
database.close();
