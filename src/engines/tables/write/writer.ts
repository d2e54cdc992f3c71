import { messageOf } from '../../../errors.js';
import { busy, type Database, rollBack, sqliteCode } from '../schema/database.js';
import { abandon, finish, handBack, recover, writeLog, writeProgress } from './attempts.js';
import type {
  Batch,
  BatchResult,
  Kind,
  Write,
  WriteFailure,
  WriteOf,
  WriteOutcome,
  Written,
} from './batch.js';
import { claim } from './claim.js';
import { cancel, remove, rerun, retry, run } from './commands.js';
import { Counters } from './counters.js';
import { Failures } from './failures.js';
import { Inserter } from './insert.js';
import { dropExpired, makeSearchable, prune } from './maintenance.js';
import { register } from './processes.js';
import { restartDelays } from './restart-delays.js';
import { Rollups } from './rollup.js';
import {
  fire,
  pauseQueue,
  pauseSchedule,
  plan,
  removeSchedule,
  restartInterval,
  runSchedule,
} from './schedules.js';
import { append, increment, replace, set } from './shared-values.js';
import { dropPartitions, dropStatistics } from './statistics.js';
import { succeed } from './succeed.js';
import { type Transaction, wantedRow } from './transaction.js';

/*
 * A batch is written in one transaction, in which the parts of this folder work together:
 * 1. `Counters` reads the counters: the last change number and the last row id.
 * 2. The function for its kind applies each write to the tables. `Inserter` gathers new tasks, so
 *    that one statement inserts ten of them. A write of any other kind flushes them first.
 * 3. `claim` claims ready tasks for the process, which may be tasks of the same batch.
 * 4. Gathered statistics (`Rollups`), failures (`Failures`) and counts (`Counters`) are stored once
 *    per transaction. If the transaction fails, these parts discard what they hold, and the writes
 *    are tried one by one.
 */

/** Writes batches, each in one transaction. */
export class Writer {
  readonly #transaction: Transaction;

  constructor(database: Database) {
    const counters = new Counters(database);
    this.#transaction = {
      database,
      counters,
      rollups: new Rollups(database),
      failures: new Failures(database),
      inserter: new Inserter(database, counters),
      wanted: new Set(),
    };
  }

  /**
   * Applies a batch. If one write makes the transaction fail, each write is applied alone, so that
   * only the faulty one fails.
   */
  apply(batch: Batch): BatchResult {
    const { writes, claim: request, at, wanted } = batch;
    this.#transaction.wanted = new Set(wanted);
    try {
      return this.#commit(batch);
    } catch (error) {
      const failed = {
        ...nothing,
        outcomes: writes.map(() => failure(error)),
        ...(request && { claimError: failureOf(error) }),
      };
      if (writes.length + (request ? 1 : 0) === 1) return failed;
      // If the database stays locked, no write is at fault, and each would wait as long again.
      if (sqliteCode(error) === busy) return failed;
      const outcomes = writes.map(
        (write) => this.apply({ writes: [write], claim: undefined, at, wanted }).outcomes[0],
      );
      return request
        ? { ...this.apply({ writes: [], claim: request, at, wanted }), outcomes }
        : { ...nothing, outcomes };
    }
  }

  #commit({ writes, claim: request, at }: Batch): BatchResult {
    const { database, counters, rollups, failures, inserter } = this.#transaction;
    const started = performance.now();
    database.exec('BEGIN IMMEDIATE');
    try {
      counters.open();
      const outcomes = this.#writeAll(writes, at);
      inserter.flush();
      const taken = request ? claim(this.#transaction, request) : nothing;
      rollups.write();
      failures.write();
      counters.close();
      const written = performance.now();
      database.exec('COMMIT');
      const diskBound = performance.now() - written > written - started;
      return { outcomes, ...taken, diskBound };
    } catch (error) {
      counters.discard();
      rollups.discard();
      failures.discard();
      inserter.discard();
      rollBack(database);
      throw error;
    }
  }

  /**
   * Applies the writes in order. Successful attempts are ended first and together, because most
   * writes are of this kind.
   */
  #writeAll(writes: readonly Write[], at: number): (WriteOutcome | undefined)[] {
    const simple = writes.filter(
      (write): write is Finish => write.kind === 'finish' && isSimple(write),
    );
    const left = simple.length > 0 ? succeed(this.#transaction, simple) : new Set();
    return writes.map((write) => {
      const alone = write.kind !== 'finish' || !isSimple(write) || left.has(write.rowid);
      const value = alone
        ? this.#write(write, at)
        : wantedRow(this.#transaction, write.rowid, 'success');
      return value === undefined ? undefined : { ok: true, value };
    });
  }

  #write<K extends Kind>(write: WriteOf<K> & { kind: K }, at: number): Written[K] {
    // Any other write may refer to the gathered tasks, so they are stored first.
    if (write.kind !== 'enqueue') this.#transaction.inserter.flush();
    return handlers[write.kind](this.#transaction, write, at);
  }
}

/** The function that applies each kind of write. */
const handlers: {
  [K in Kind]: (transaction: Transaction, write: WriteOf<K>, at: number) => Written[K];
} = {
  enqueue: ({ inserter }, { tasks }, at) => inserter.add(tasks, at),
  finish,
  abandon,
  log: writeLog,
  progress: writeProgress,
  retry,
  cancel,
  delete: remove,
  run,
  rerun,
  recover,
  handBack,
  register,
  pauseQueue,
  plan,
  restartInterval,
  restartDelays,
  fire,
  runSchedule,
  pauseSchedule,
  removeSchedule,
  prune,
  makeSearchable,
  dropStatistics,
  dropPartitions,
  dropExpired,
  set,
  increment,
  replace,
  append,
};

type Finish = WriteOf<'finish'>;

/**
 * Returns whether a write only ends a successful attempt: with a small result, and without log
 * lines or progress.
 */
function isSimple({ result, logs, progress }: Finish): boolean {
  return result.status === 'success' && (result.result?.length ?? 0) < 10_000 && !logs && !progress;
}

const nothing = { claimed: [], begun: [], expired: [], nextDue: null, diskBound: true };

function failure(error: unknown): WriteOutcome {
  return { ok: false, error: failureOf(error) };
}

function failureOf(error: unknown): WriteFailure {
  return {
    message: messageOf(error),
    errcode: sqliteCode(error),
  };
}
