import { type Database, rollBack, sqliteCode } from '../schema/database.js';
import { abandon, finish, handBack, recover, writeLog, writeProgress } from './attempts.js';
import type {
  Batch,
  BatchResult,
  Write,
  WriteFailure,
  WriteOf,
  WriteOutcome,
  Written,
} from './batch.js';
import { claim } from './claim.js';
import { command, rerun } from './commands.js';
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

  #write(write: Write, at: number): Written[Write['kind']] {
    const transaction = this.#transaction;
    // Any other write may refer to the gathered tasks, so they are stored first.
    if (write.kind !== 'enqueue') transaction.inserter.flush();
    switch (write.kind) {
      case 'enqueue':
        return transaction.inserter.add(write.tasks, at);
      case 'finish':
        return finish(transaction, write);
      case 'abandon':
        return abandon(transaction, write);
      case 'log':
        return writeLog(transaction, write.logs);
      case 'progress':
        return writeProgress(transaction, write.owner, write.entries);
      case 'retry':
      case 'cancel':
      case 'delete':
      case 'run':
        return command(transaction, write);
      case 'rerun':
        return rerun(transaction, write);
      case 'recover':
        return recover(transaction, write);
      case 'handBack':
        return handBack(transaction, write);
      case 'register':
        return register(transaction, write, at);
      case 'pauseQueue':
        return pauseQueue(transaction, write);
      case 'plan':
        return plan(transaction, write);
      case 'restartInterval':
        return restartInterval(transaction, write);
      case 'restartDelays':
        return restartDelays(transaction, write);
      case 'fire':
        return fire(transaction, write);
      case 'runSchedule':
        return runSchedule(transaction, write);
      case 'pauseSchedule':
        return pauseSchedule(transaction, write);
      case 'removeSchedule':
        return removeSchedule(transaction, write);
      case 'prune':
        return prune(transaction, write);
      case 'makeSearchable':
        return makeSearchable(transaction, write, at);
      case 'dropStatistics':
        return dropStatistics(transaction, write);
      case 'dropPartitions':
        return dropPartitions(transaction, write);
      case 'dropExpired':
        return dropExpired(transaction, write);
      case 'set':
        return set(transaction, write);
      case 'increment':
        return increment(transaction, write);
      case 'replace':
        return replace(transaction, write);
      case 'append':
        return append(transaction, write);
    }
  }
}

/** SQLITE_BUSY: the lock was not released within the timeout. */
const busy = 5;

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
    message: error instanceof Error ? error.message : String(error),
    errcode: sqliteCode(error),
  };
}
