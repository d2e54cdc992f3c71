import type { Database } from '../schema/database.js';
import { packing } from '../schema/packing.js';
import { stateCode } from '../schema/states.js';
import type { Claim } from './batch.js';
import type { Transaction } from './transaction.js';

/** A task that a claim may take. */
export interface Ready {
  rowid: number;
  /** Upper-case hexadecimal digits. */
  id: string;
  priority: number;
  deadlineAt: number | null;
  /** The fingerprint of the failure that this attempt retries, if any. */
  fingerprint: string | null;
  /** Size of its arguments in bytes. */
  bytes: number;
  /** The id of its partition. */
  partition: number;
}

const ready = packing<Ready>({
  rowid: 'rowid',
  id: 'hex(id)',
  priority: 'priority',
  deadlineAt: 'deadline_at',
  fingerprint: 'fingerprint',
  bytes: 'bytes',
  partition: 'partition',
});

/** The partition that tasks are read from. */
interface Partition {
  partition: number;
  name: string;
}

/** The fields that decide which of two tasks runs first. */
type Head = Pick<Ready, 'priority' | 'id'>;

/**
 * Selects the partitions to read: those with a name that has room, for `limit` tasks, except
 * `without`.
 */
interface Sought {
  room: Room;
  limit: number;
  without: ReadonlySet<number>;
}

/**
 * Number of ready partitions that are read regardless of their names. If there are more, they are
 * read by name.
 */
const pageSize = 20;
/**
 * Maximum number of changed partitions that a claim reads directly. If there are more, their first
 * ready tasks are stored first.
 */
const maxUnstored = 20;

/*
 * `LIMIT ? + 0`: when the value of a bare parameter after LIMIT changes, SQLite prepares the
 * statement again. That takes several times as long as the query.
 */
const columns =
  'partition.id AS partition, partition.name, partition.ready_priority AS priority, ' +
  'hex(partition.ready_id) AS id';
const anyReady = `SELECT ${columns} FROM partition INDEXED BY partition_ready WHERE paused = 0
  AND ready_id IS NOT NULL LIMIT ? + 0`;
const readyOfNames = `
SELECT ${columns} FROM json_each(?) AS wanted CROSS JOIN partition ON partition.id IN (
  SELECT id FROM partition AS each INDEXED BY partition_ready WHERE paused = 0
    AND ready_id IS NOT NULL AND each.name = wanted.value
  ORDER BY ready_priority DESC, ready_id LIMIT ? + 0)`;

/**
 * Returns the first ready tasks of the given names: by priority, then by age. The parts of this
 * file work together as follows:
 * 1. `Room` tracks how many more tasks of each name may start, according to its `concurrency`.
 * 2. `readyPartitions` reads the partitions with a ready task from an index. If this transaction
 *    has changed a partition, that index may be outdated, so `streamsOf` reads the tasks
 *    themselves.
 * 3. A `Stream` returns the ready tasks of one partition in order, and `merge` takes the first task
 *    of all streams until it has enough.
 */
export function readyTasks(
  transaction: Transaction,
  names: Claim['names'],
  limit: number,
): Ready[] {
  const { database, counters } = transaction;
  const room = createRoom(transaction, names);
  if (counters.ready.unstored().length > maxUnstored) counters.ready.write();
  const unstored = counters.ready.unstored();
  const known = readyPartitions(database, { room, limit, without: new Set(unstored) }).map(
    (each) => new Stream(database, each, each),
  );
  return merge([...known, ...streamsOf(database, unstored, room, limit)], room, limit);
}

/** Tracks how many more tasks of each name may start. */
type Room = ReturnType<typeof createRoom>;

/** Creates the {@link Room} of a claim. */
function createRoom(transaction: Transaction, names: Claim['names']) {
  const limits = new Map(names);
  const known = new Map<string, number>();
  let running: ReadonlyMap<string, number> | undefined;

  const roomOf = (name: string): number => {
    if (!limits.has(name)) return 0;
    // Messages to the writing thread are JSON, in which a missing limit becomes null.
    const most = limits.get(name) ?? undefined;
    if (most === undefined) return Number.POSITIVE_INFINITY;
    running ??= runningByName(transaction);
    return most - (running.get(name) ?? 0);
  };

  /** Returns how many more tasks of a name may start: 0 if this process does not run it. */
  const left = (name: string): number => {
    const room = known.get(name) ?? roomOf(name);
    known.set(name, room);
    return room;
  };

  return {
    left,

    /** Uses room for one task. Returns whether there was room. */
    take(name: string): boolean {
      const room = left(name);
      known.set(name, room - 1);
      return room > 0;
    },

    /** Returns the names for which another task may start. */
    names: () => [...limits.keys()].filter((name) => left(name) > 0),
  };
}

/**
 * Returns the number of running tasks in all processes, by name. A partition without running tasks
 * has no row, so this reads at most as many rows as there are running tasks.
 */
function runningByName({ database, counters }: Transaction): Map<string, number> {
  counters.writeTaskCounts();
  const rows = database.all<{ name: string; n: number }>(
    `SELECT name, sum(n) AS n FROM task_count
      CROSS JOIN partition ON partition.id = task_count.partition
        WHERE task_count.status = ${stateCode.running}
      GROUP BY name`,
  );
  return new Map(rows.map(({ name, n }) => [name, n]));
}

/**
 * Returns the partitions that may contain some of the first tasks. For each name, `limit`
 * partitions are enough: those whose first tasks run earliest.
 */
function readyPartitions(
  database: Database,
  { room, limit, without }: Sought,
): (Partition & Head)[] {
  let rows = database.all<Partition & Head>(anyReady, pageSize);
  if (rows.length === pageSize)
    rows = database.all(readyOfNames, JSON.stringify(room.names()), limit + without.size);
  return rows.filter(({ partition, name }) => !without.has(partition) && room.left(name) > 0);
}

/**
 * Returns streams for partitions whose stored first ready task may be outdated. Partitions without
 * a ready task are left out.
 */
function streamsOf(
  database: Database,
  partitions: readonly number[],
  room: Room,
  limit: number,
): Stream[] {
  if (partitions.length === 0) return [];
  const rows = database.all<Partition>(
    `SELECT id AS partition, name FROM partition WHERE id IN (SELECT value FROM json_each(?))
      AND paused = 0`,
    JSON.stringify(partitions),
  );
  return rows
    .filter(({ name }) => room.left(name) > 0)
    .map((partition) => new Stream(database, partition))
    .filter((stream) => stream.advance(Math.ceil(limit / partitions.length)));
}

/**
 * Merges the ready tasks of several partitions. A stream reads its next part only when its first
 * task is the next one overall.
 */
function merge(streams: Stream[], room: Room, limit: number): Ready[] {
  // The next task is at the end, because an array removes its last element in constant time.
  streams.sort((a, b) => -compare(a.head, b.head));
  const taken: Ready[] = [];
  while (taken.length < limit) {
    const stream = streams.pop();
    if (!stream) break;
    if (!room.take(stream.name)) continue;
    // The number of tasks that each partition contributes if all contribute equally.
    const share = Math.ceil((limit - taken.length) / (streams.length + 1));
    const task = stream.take(share);
    if (task) taken.push(task);
    if (taken.length < limit && stream.advance(share)) insert(streams, stream);
  }
  return taken;
}

/** Compares two tasks by the order in which they run. */
function compare(a: Head, b: Head): number {
  return b.priority - a.priority || (a.id < b.id ? -1 : 1);
}

function insert(streams: Stream[], stream: Stream): void {
  let [from, to] = [0, streams.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    const other = streams[middle];
    if (other && compare(other.head, stream.head) > 0) from = middle + 1;
    else to = middle;
  }
  streams.splice(from, 0, stream);
}

/**
 * The smallest part. With two rows, a single read shows whether a partition has only one ready
 * task.
 */
const smallestPart = 2;

/** The ready tasks of one partition in order. They are read in parts of growing size. */
class Stream {
  /** The next task, with the fields that the merge compares. */
  head: Head;
  readonly #database: Database;
  readonly #partition: Partition;
  #part: Ready[] = [];
  #next = 0;
  /** Number of tasks read so far, and whether there may be more. */
  #read = 0;
  #hasMore = true;

  /** If no `head` is given, call `advance` before any other method. */
  constructor(database: Database, partition: Partition, head: Head = { priority: 0, id: '' }) {
    this.#database = database;
    this.#partition = partition;
    this.head = head;
  }

  get name(): string {
    return this.#partition.name;
  }

  /** Returns the next task. `wanted` is how many tasks the caller probably takes. */
  take(wanted: number): Ready | undefined {
    if (this.#next === this.#part.length && this.#hasMore) this.#readPart(wanted);
    const task = this.#part[this.#next];
    this.#next += 1;
    return task;
  }

  /** Moves `head` to the next task. Returns whether there is one. */
  advance(wanted: number): boolean {
    if (this.#next === this.#part.length && this.#hasMore) this.#readPart(wanted);
    const next = this.#part[this.#next];
    if (next) this.head = next;
    return next !== undefined;
  }

  #readPart(wanted: number): void {
    const size = Math.max(smallestPart, wanted, this.#read);
    this.#part = readyOf(this.#database, this.#partition.partition, size, this.#read);
    this.#next = 0;
    this.#read += this.#part.length;
    this.#hasMore = this.#part.length === size;
  }
}

/** Reads ready tasks of a partition as one JSON text. */
function readyOf(database: Database, partition: number, limit: number, offset: number): Ready[] {
  const tasks = database.value<string>(
    `SELECT json_group_array(${ready.sql}) FROM (
       SELECT rowid, id, priority, deadline_at, fingerprint, octet_length(args) AS bytes, partition
         FROM task INDEXED BY task_ready
       WHERE partition = ? AND status = ${stateCode.pending} AND ready_at IS NULL
         ORDER BY priority DESC, id
         LIMIT ? + 0 OFFSET ? + 0)`,
    partition,
    limit,
    offset,
  );
  return ready.parseList(tasks);
}
