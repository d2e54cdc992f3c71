import { type Database, rollBack, sqliteCode } from '../schema/database.js';
import {
  abandon,
  finish,
  handBack,
  recover,
  succeed,
  writeLog,
  writeProgress,
} from './attempts.js';
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
import { restartDelays } from './delays.js';
import { Failures } from './failures.js';
import { Inserter } from './insert.js';
import { dropExpired, makeSearchable, prune } from './maintenance.js';
import { register } from './processes.js';
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
import { type Transaction, wantedRow } from './transaction.js';

/*
 * A batch is written in one transaction, in which the parts of this folder work together:
 * 1. `Counters` reads the counters: the numbers of the last change and of the last task.
 * 2. Each write changes the tables, by the function of its kind. `Inserter` gathers new tasks, so
 *    that ten of them are one statement; a write of any other kind flushes it first.
 * 3. `claim` takes ready tasks for the process, which may be tasks of this same batch.
 * 4. What was only counted on the way is stored once: sums by time (`Rollups`), failures
 *    (`Failures`), counters (`Counters`). If the transaction fails, all of them discard what they
 *    hold, and the writes are tried one by one.
 */

/** Writes all of a batch in one transaction. */
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
   * Applies a batch. If one write makes the whole fail, each is tried alone, so that it fails
   * alone.
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
      // It is no write's fault that the database stayed locked, and each would wait as long again.
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
   * One after the other, but that attempts which succeeded, the most of what there is, are ended
   * together.
   */
  #writeAll(writes: readonly Write[], at: number): (WriteOutcome | undefined)[] {
    const simple = writes.filter(
      (write): write is Finish => write.kind === 'finish' && isSimple(write),
    );
    const left = simple.length > 0 ? succeed(this.#transaction, simple) : new Set();
    return writes.map((write) => {
      const alone = write.kind !== 'finish' || !isSimple(write) || left.has(write.seq);
      const value = alone
        ? this.#write(write, at)
        : wantedRow(this.#transaction, write.seq, 'success');
      return value === undefined ? undefined : { ok: true, value };
    });
  }

  #write(write: Write, at: number): Written[Write['kind']] {
    const transaction = this.#transaction;
    // What was gathered to be stored must be there for whatever is not an enqueue.
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

/** SQLITE_BUSY: the time to wait for a lock is over. */
const busy = 5;

type Finish = WriteOf<'finish'>;

/** An attempt that succeeded, with a result that is soon copied, and had nothing else to say. */
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
